// SPDX-License-Identifier: Apache-2.0
// Makes the vectors for tokenizers that a tokenizer.json describes: ids and offsets of Hugging Face's tokenizers.
//
//   node tests/make_pipeline_vectors.js train CORPUS    # makes the models; needs sentencepiece's spm_train
//   node tests/make_pipeline_vectors.js vectors [FOLDER]  # makes the vectors; FOLDER receives the data behind the hashes
//
// Both need the package tokenizers for Node where NODE_PATH finds it, and write tests/data/tokenizer/pipelines.json:
//   models      {name: the member `model` of a tokenizer.json}
//   charsmap    the member `precompiled_charsmap` of Precompiled
//   tokenizers  {name: a tokenizer.json, with the name of a model as `model` and null as precompiled_charsmap}
//   vectors     {name: hashes of ids, type ids and offsets in bytes, each number as 4 bytes, little endian:
//     texts     of each text of vectors.json
//     pairs     of each pair of vectors.json with its max_tokens
//     blocks    of the text "a" + c + "b|" for each code point c of a block
//     random    of each 1000 texts of random_text(), random_pairs of each 1000 pairs of them, cut to 6 to 45 tokens}
// The hash is FNV-1a, 64 bits.
'use strict';
const fs = require('fs'), path = require('path'), os = require('os'), {execFileSync} = require('child_process');
const {Tokenizer} = require('tokenizers');
const data = path.join(__dirname, 'data/tokenizer'), file = path.join(data, 'pipelines.json');
const old = JSON.parse(fs.readFileSync(path.join(data, 'vectors.json')));
const lines = fs.readFileSync(path.join(data, 'vocab.txt'), 'utf8').split('\n').slice(0, -1);
const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'], GROUP = 1000, GROUPS = 2, PAIR_GROUPS = 1, BLOCK = 4096;
const MERGES = 1200, PIECES = 1500;

const added = (id, content, flags = {}) =>
  ({id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true, ...flags});
const specials = flags => SPECIAL.map((token, id) => added(id, token, flags[token]));
const sequence = (...normalizers) => ({type: 'Sequence', normalizers});
const replace = (pattern, content) => ({type: 'Replace', pattern, content});
const byteLevel = (add_prefix_space, use_regex = true, trim_offsets = true) =>
  ({type: 'ByteLevel', add_prefix_space, trim_offsets, use_regex});
const metaspace = (prepend_scheme, split = true) => ({type: 'Metaspace', replacement: '\u2581', prepend_scheme, split});
const roberta = (add_prefix_space, trim_offsets = true) =>
  ({type: 'RobertaProcessing', sep: ['[SEP]', 3], cls: ['[CLS]', 2], trim_offsets, add_prefix_space});
const template = (second_type) => {
  const token = (id, type_id) => ({SpecialToken: {id, type_id}}), text = (id, type_id) => ({Sequence: {id, type_id}});
  const ids = (id, token) => ({id: token, ids: [id], tokens: [token]});
  return {type: 'TemplateProcessing', single: [token('[CLS]', 0), text('A', 0), token('[SEP]', 0)],
          pair: [token('[CLS]', 0), text('A', 0), token('[SEP]', 0), text('B', second_type), token('[SEP]', second_type)],
          special_tokens: {'[CLS]': ids(2, '[CLS]'), '[SEP]': ids(3, '[SEP]')}};
};
const charsmap = {type: 'Precompiled', precompiled_charsmap: null};
const qwen = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const left = {direction: 'Left', max_length: 512, strategy: 'LongestFirst', stride: 0};

const tokenizer = (model, normalizer, pre_tokenizer, post_processor, added_tokens, truncation = null) =>
  ({version: '1.0', truncation, padding: null, added_tokens, normalizer, pre_tokenizer, post_processor, decoder: null, model});
const TOKENIZERS = {
  gpt2: tokenizer('bytes', null, byteLevel(false), byteLevel(true, true, false), specials({})),
  roberta: tokenizer('bytes', null, byteLevel(true), roberta(true), specials({'[MASK]': {lstrip: true}, '[PAD]': {single_word: true}})),
  modernbert: tokenizer('bytes_pairs', {type: 'NFC'}, byteLevel(false), template(0),
    [...specials({'[MASK]': {lstrip: true}}), ...['  ', '    ', 'Tok\u0301en', 'the', 'of '].map(text =>
      added(null, text, {normalized: true, special: false, single_word: text === 'the'}))]),
  qwen: tokenizer('bytes_whole', {type: 'NFC'},
    {type: 'Sequence', pretokenizers: [{type: 'Split', pattern: {Regex: qwen}, behavior: 'Isolated', invert: false}, byteLevel(false, false)]},
    byteLevel(false, false, false), specials({})),
  gpt4: tokenizer('bytes', {type: 'NFD'},
    {type: 'Sequence', pretokenizers: [{type: 'Split', pattern: {Regex: qwen.replace('\\p{N}|', '\\p{N}{1,3}|')}, behavior: 'Removed', invert: true}, byteLevel(false, false)]},
    {type: 'Sequence', processors: [byteLevel(true, false), template(1)]}, specials({'[SEP]': {rstrip: true}})),
  gemma: tokenizer('characters', sequence({type: 'Prepend', prepend: '\u2581'}, replace({String: ' '}, '\u2581')), null, template(0),
    specials({}), left),
  xlmr: tokenizer('pieces', sequence(charsmap, {type: 'Strip', strip_left: false, strip_right: true}, replace({Regex: ' {2,}'}, '\u2581')),
    metaspace('always'), roberta(true, false), specials({'[MASK]': {lstrip: true}})),
  xlmr_old: tokenizer('pieces_bytes', charsmap,
    {type: 'Sequence', pretokenizers: [{type: 'WhitespaceSplit'}, metaspace('always')]}, template(0), specials({})),
  albert: tokenizer('pieces', sequence(replace({String: '``'}, '"'), replace({String: "''"}, '"'), {type: 'NFKD'}, {type: 'StripAccents'},
    {type: 'Lowercase'}, charsmap), metaspace('first'), template(1), specials({'[MASK]': {lstrip: true}}), left),
  deberta: tokenizer('pieces', sequence({type: 'Strip', strip_left: true, strip_right: true}, charsmap, {type: 'NFKC'}),
    {type: 'Sequence', pretokenizers: [metaspace('always', false), {type: 'Punctuation', behavior: 'Isolated'}, {type: 'Digits', individual_digits: true}]},
    {type: 'BertProcessing', sep: ['[SEP]', 3], cls: ['[CLS]', 2]}, specials({'[UNK]': {normalized: true}})),
  mpnet: tokenizer('words', {type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true},
    {type: 'BertPreTokenizer'}, roberta(false), [...specials({'[MASK]': {lstrip: true}}),
      added(null, 'H\u00c9LLO', {normalized: true, special: false}),
      added(null, 'the', {normalized: true, special: false, single_word: true})]),
  nmt: tokenizer('words_nmt', sequence({type: 'Nmt'}, {type: 'Lowercase'}, replace({Regex: '\\s+'}, ' ')),
    {type: 'Sequence', pretokenizers: [{type: 'Whitespace'}, {type: 'Digits', individual_digits: false}, {type: 'Punctuation', behavior: 'MergedWithPrevious'}]},
    template(1), specials({})),
};

// Models -----------------------------------------------------------------------------------------------------------------

function alphabet() {  // of ByteLevel, by byte
  let next = 256;
  return Array.from({length: 256}, (_, byte) =>
    String.fromCodePoint((byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174 ? byte : next++));
}

function trained(model, pre_tokenizer, corpus) {
  const made = Tokenizer.fromString(JSON.stringify(tokenizer(model, null, pre_tokenizer, null, [])));
  made.train([corpus]);
  const out = path.join(os.tmpdir(), 'trained.json');
  made.save(out);
  return JSON.parse(fs.readFileSync(out)).model;
}

const vocab = tokens => Object.fromEntries([...new Set(tokens)].map((token, id) => [token, id]));
const bpe = (tokens, merges, more = {}) => ({type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null,
  end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges: false, ...more, vocab: vocab(tokens), merges});

function trainBpe(corpus) {
  const empty = {type: 'BPE', vocab: {}, merges: []};
  const pairs = merges => merges.map(merge => typeof merge === 'string' ? merge.split(' ') : merge).slice(0, MERGES);
  const bytes = pairs(trained(empty, byteLevel(false), corpus).merges);
  const tokens = [...SPECIAL, ...alphabet(), ...bytes.map(pair => pair.join(''))];
  const characters = pairs(trained(empty, metaspace('always', true), corpus).merges);
  const letters = [...new Set(characters.flatMap(pair => pair).flatMap(token => [...token]))];
  const fallbacks = Array.from({length: 256}, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`).filter((_, byte) => byte < 0xD0);
  return {bytes: bpe(tokens, bytes.map(pair => pair.join(' '))), bytes_pairs: bpe(tokens, bytes),
          bytes_whole: bpe(tokens, bytes.slice(0, MERGES / 2), {ignore_merges: true}),
          characters: bpe([...SPECIAL, ...fallbacks, ...letters, ...characters.map(pair => pair.join(''))], characters,
                          {unk_token: '[UNK]', fuse_unk: true, byte_fallback: true})};
}

// The fields of a protocol buffer, as [number, value] where value is a Buffer, or a number for the wire types 0 and 5.
function* fields(bytes) {
  const varint = () => { let value = 0, by = 1; for (;; by *= 128) { const b = bytes[at++]; value += (b & 127) * by; if (b < 128) return value; } };
  let at = 0;
  while (at < bytes.length) {
    const tag = varint(), kind = tag & 7;
    if (kind === 0) { yield [tag >> 3, varint()]; continue; }
    if (kind === 5) { yield [tag >> 3, bytes.readFloatLE(at)]; at += 4; continue; }
    const size = varint();
    yield [tag >> 3, bytes.subarray(at, at += size)];
  }
}

// Trains with a short list of rules for characters; sentencepiece's own list has 300 kB.
function trainUnigram(corpus, folder) {
  const rule = (from, to) => [from, to].map(text => [...text].map(c => c.codePointAt(0).toString(16).toUpperCase()).join(' ')).join('\t');
  const rules = [['\t', ' '], ['\n', ' '], ['\r', ' '], ['\u00a0', ' '], ['\u3000', ' '], ['\u200b', ' '], ['\u2028', ' '], ['\x07', ''],
    ['\u00ad', ''], ['\ufb01', 'fi'], ['\ufb03', 'ffi'], ['\u2122', 'TM'], ['\u00bd', '1\u20442'], ['e\u0301', '\u00e9'], ['o\u0308', '\u00f6'],
    ['\u0130', 'i\u0307'], ['\uff01', '!'], ['\uac01', '\u1100\u1161\u11a8'], ['\ufdfa', '\u0635\u0644\u0649 \u0627\u0644\u0644\u0647'],
    ...Array.from({length: 26}, (_, i) => [String.fromCharCode(0xff21 + i), String.fromCharCode(65 + i)]),
    ...Array.from({length: 26}, (_, i) => [String.fromCharCode(0xff41 + i), String.fromCharCode(97 + i)])];
  fs.writeFileSync(path.join(folder, 'rules.tsv'), rules.map(([from, to]) => rule(from, to)).join('\n') + '\n');
  execFileSync('spm_train', [`--input=${corpus}`, `--model_prefix=${folder}/spm`, `--vocab_size=${PIECES}`, '--model_type=unigram',
    `--normalization_rule_tsv=${folder}/rules.tsv`, '--character_coverage=0.9995', '--num_threads=1', '--input_sentence_size=20000'], {stdio: 'ignore'});
  const pieces = [];
  let map;
  for (const [number, value] of fields(fs.readFileSync(path.join(folder, 'spm.model')))) {
    const inner = number === 1 || number === 3 ? Object.fromEntries(fields(value)) : {};
    if (number === 1 && (inner[3] || 1) === 1) pieces.push([inner[1].toString(), inner[2]]);
    if (number === 3) map = inner[2].toString('base64');
  }
  const list = [...SPECIAL.map(token => [token, 0]), ...pieces];
  const fallbacks = Array.from({length: 256}, (_, byte) => [`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`, 0]);
  return {charsmap: map, models: {pieces: {type: 'Unigram', unk_id: 1, vocab: list, byte_fallback: false},
          pieces_bytes: {type: 'Unigram', unk_id: 1, vocab: [...list, ...fallbacks], byte_fallback: true}}};
}

function words() {
  const ids = {};
  for (const line of lines) ids[line] ??= Object.keys(ids).length;  // without gaps, which added tokens need
  const model = {type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##', max_input_chars_per_word: 100, vocab: ids};
  return {words: model, words_nmt: {...model, max_input_chars_per_word: 12}};
}

// Vectors ----------------------------------------------------------------------------------------------------------------

class Hash {
  constructor() { this.high = 0xCBF29CE4; this.low = 0x84222325; }
  byte(value) {
    const low = (this.low ^ value) >>> 0, product = low * 0x1B3;
    this.high = (Math.imul(this.high, 0x1B3) + Math.floor(product / 0x100000000) + (low << 8)) >>> 0;
    this.low = product >>> 0;
  }
  numbers(list) { for (const n of list) for (let shift = 0; shift < 32; shift += 8) this.byte((n >>> shift) & 255); }
  toString() { return [this.high, this.low].map(half => half.toString(16).padStart(8, '0')).join(''); }
}

class Random {
  constructor(seed) { this.state = BigInt(seed); }
  below(n) {
    this.state = BigInt.asUintN(64, this.state * 6364136223846793005n + 1442695040888963407n);
    return Number((this.state >> 33n) % BigInt(n));
  }
}

function randomText(random) {  // the same as in tokenizer_test.cpp
  let text = '';
  for (let pieces = 1 + random.below(40); pieces; --pieces) {
    const kind = random.below(12);
    if (kind < 2) {
      const token = lines[random.below(lines.length)];
      text += token.startsWith('##') ? token.slice(2) : token;
    } else if (kind < 3) {
      text += ' ';
    } else if (kind < 4 && random.below(4) === 0) {
      text += SPECIAL[random.below(5)];
    } else {
      const [begin, end] = old.alphabets[random.below(old.alphabets.length)];
      const character = String.fromCodePoint(begin + random.below(end - begin + 1));
      text += character.repeat(kind === 4 && random.below(8) === 0 ? 1 + random.below(110) : 1);
    }
  }
  return text;
}

function starts(text) {
  const list = [0];
  for (const c of text) list.push(list[list.length - 1] + Buffer.byteLength(c));
  return list;
}

function rowOf(encoding, first, second) {
  const places = [starts(first), starts(second || '')];
  const sequences = encoding.getOffsets().map((_, i) => encoding.tokenToSequence(i) || 0);
  return {ids: encoding.getIds(), types: encoding.getTypeIds(),
          offsets: encoding.getOffsets().flatMap((pair, i) => pair.map(at => places[sequences[i]][at]))};
}

async function encodedBatch(made, cases) {
  made.disableTruncation();
  const encodings = await made.encodeBatch(cases.map(([first]) => first));
  return encodings.map((encoding, i) => rowOf(encoding, cases[i][0]));
}

async function encoded(made, truncation, first, second, limit) {
  if (limit) made.setTruncation(limit, {strategy: 'LongestFirst', direction: truncation ? 'left' : 'right'});
  else made.disableTruncation();
  return rowOf(await made.encode(first, second), first, second);
}

async function vectorsOf(name, document, seed) {
  const made = Tokenizer.fromString(JSON.stringify(document)), details = {}, vectors = {};
  const pairs = old.vectors[0].pairs.filter(pair => pair[2] === 0 || pair[2] >= 6);
  const run = async (key, cases) => {
    const hash = new Hash();
    const batch = cases.length > 1 && !cases[0][2] ? await encodedBatch(made, cases) : null;
    for (const [i, [first, second, limit]] of cases.entries()) {
      const row = batch ? batch[i] : await encoded(made, document.truncation, first, second, limit);
      for (const list of [row.ids, row.types, row.offsets]) hash.numbers(list);
      (details[key] ||= []).push([first, second || null, limit || 0, row.ids, row.types, row.offsets]);
    }
    (vectors[key] ||= []).push(hash.toString());
  };
  for (const text of old.texts) await run('texts', [[text]]);
  for (const [first, second, limit] of pairs) await run('pairs', [[first, second, limit]]);
  for (let begin = 0; begin < 0x110000; begin += BLOCK) {
    let text = '';
    for (let c = begin; c < begin + BLOCK; ++c) if (c < 0xD800 || c > 0xDFFF) text += 'a' + String.fromCodePoint(c) + 'b|';
    await run('blocks', [[text]]);
  }
  const random = new Random(seed);
  const cases = (n, make) => Array.from({length: n}, make);
  for (let i = 0; i < GROUPS; ++i) await run('random', cases(GROUP, () => [randomText(random)]));
  for (let i = 0; i < PAIR_GROUPS; ++i)
    await run('random_pairs', cases(GROUP, () => { const a = randomText(random), b = randomText(random); return [a, b, 6 + random.below(40)]; }));
  return {vectors, details};
}

// Numbers the added tokens as tokenizers does.
function number(document, content) {
  const {vocab} = content.models[document.model];
  let next = Array.isArray(vocab) ? vocab.length : Object.keys(vocab).length;
  for (const token of document.added_tokens) token.id ??= vocab[token.content] ?? next++;
}

function complete(document, content) {
  const text = JSON.stringify({...document, model: content.models[document.model]}, (key, value) => key === 'precompiled_charsmap' ? content.charsmap : value);
  return JSON.parse(text);
}

async function main() {
  const [what, where] = process.argv.slice(2);
  if (what === 'train') {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'train-')), unigram = trainUnigram(where, folder);
    const content = {charsmap: unigram.charsmap, models: {...trainBpe(where), ...unigram.models, ...words()}, tokenizers: TOKENIZERS};
    fs.writeFileSync(file, JSON.stringify(content) + '\n');
    return;
  }
  const content = JSON.parse(fs.readFileSync(file));
  for (const document of Object.values(TOKENIZERS)) number(document, content);
  content.tokenizers = TOKENIZERS;
  content.vectors = {};
  let seed = 100;
  for (const name of Object.keys(TOKENIZERS)) {
    ++seed;
    const {vectors, details} = await vectorsOf(name, complete(TOKENIZERS[name], content), seed);
    content.vectors[name] = vectors;
    if (where) fs.writeFileSync(path.join(where, name + '.json'), JSON.stringify(details));
    fs.writeFileSync(file, JSON.stringify(content) + '\n');
    console.log(name, Object.entries(vectors).map(([key, list]) => `${key} ${list.length}`).join(', '));
  }
}

main();
