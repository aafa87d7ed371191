// Classifies texts with a folder that `pkd export` wrote, in Node, by transformers.js: no Python at serving time.
//
//   npm install --ignore-scripts        # the scripts would fetch libraries for GPUs
//   node classify.mjs ../../served-int8 "a moving film" "a dull plot"
//
// One JSON object a line, as `pkd predict --json` prints them: label, probabilities, text.
import { AutoModelForSequenceClassification, AutoTokenizer, env } from "@huggingface/transformers";
import { basename, dirname, resolve } from "node:path";

const [folder, ...texts] = process.argv.slice(2);
if (!folder || texts.length === 0) {
  console.error("usage: node classify.mjs FOLDER TEXT...");
  process.exit(2);
}

env.allowRemoteModels = false; // the folder holds all that is needed
env.localModelPath = dirname(resolve(folder));
const name = basename(resolve(folder));

// which graph to take, int8 or float32, stands in the folder's config.json
const tokenizer = await AutoTokenizer.from_pretrained(name);
const model = await AutoModelForSequenceClassification.from_pretrained(name);
const { id2label, problem_type } = model.config;

// a row's logits as `pkd` reads them: a score as it is, sets of labels each by itself, classes by the softmax
function probabilitiesOf(row) {
  if (problem_type === "regression") return row;
  if (problem_type === "multi_label_classification") return row.map((logit) => 1 / (1 + Math.exp(-logit)));
  const largest = Math.max(...row);
  const powers = row.map((logit) => Math.exp(logit - largest));
  const sum = powers.reduce((left, right) => left + right);
  return powers.map((power) => power / sum);
}

function labelOf(probabilities) {
  if (problem_type === "regression") return Number(probabilities[0].toPrecision(4)).toString();
  if (problem_type === "multi_label_classification") {
    return probabilities.flatMap((value, index) => (value > 0.5 ? [id2label[index]] : [])).join(", ") || "none";
  }
  return id2label[probabilities.indexOf(Math.max(...probabilities))];
}

const inputs = await tokenizer(texts, { padding: true, truncation: true });
const { logits } = await model(inputs);
logits.tolist().forEach((row, index) => {
  const probabilities = probabilitiesOf(row);
  const named = Object.fromEntries(probabilities.map((value, id) => [id2label[id], value]));
  console.log(JSON.stringify({ label: labelOf(probabilities), probabilities: named, text: texts[index] }));
});
