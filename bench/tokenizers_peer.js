// SPDX-License-Identifier: Apache-2.0
// Measures Hugging Face's tokenizers (its package for Node, found by NODE_PATH) on the texts of `ss1-bench text`, one thread:
//   node bench/tokenizers_peer.js TEXT TOKENIZER_JSON...
'use strict';
process.env.TOKENIZERS_PARALLELISM = 'false';
process.env.RAYON_NUM_THREADS = '1';
const fs = require('fs'), {Tokenizer} = require('tokenizers');

function texts(path, bytes) {
  const list = [''];
  for (const line of fs.readFileSync(path, 'utf8').split('\n')) {
    if (Buffer.byteLength(list[list.length - 1]) >= bytes) list.push('');
    list[list.length - 1] += (list[list.length - 1] ? '\n' : '') + line;
  }
  return list;
}

async function main() {
  const [path, ...files] = process.argv.slice(2), all = texts(path, 10000);
  const megabytes = all.reduce((sum, text) => sum + Buffer.byteLength(text), 0) / 1e6;
  for (const file of files) {
    const tokenizer = Tokenizer.fromFile(file), seconds = [];
    for (let round = 0; round < 6; ++round) {  // the first one fills the caches
      const start = process.hrtime.bigint();
      for (const text of all) await tokenizer.encode(text);
      seconds.push(Number(process.hrtime.bigint() - start) / 1e9);
    }
    const sorted = seconds.slice(1).sort((a, b) => a - b);
    console.log(`${file}: ${megabytes.toFixed(1)} MB, ${(megabytes / sorted[2]).toFixed(2)} MB/s (median of 5)`);
  }
}

main();
