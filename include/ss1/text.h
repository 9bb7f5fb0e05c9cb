/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file text.h  Tokenizer: from text to the inputs of an encoder. Part of ss1.h, whose rules hold here.
 */
#ifndef SS1_TEXT_H
#define SS1_TEXT_H

#include "ss1.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Load the tokenizer of a model directory: tokenizer.json (WordPiece, byte-level and other BPE, Unigram or WordLevel,
 * with the steps that docs/format.md lists), vocab.txt (BERT's WordPiece), both if they agree, or vocab.json with
 * merges.txt (RoBERTa, GPT-2); also tokenizer_config.json, special_tokens_map.json, added_tokens.json and config.json
 * where they exist. Ids equal those of Hugging Face's transformers 5.17 (tokenizers 0.23). The tokenizer is immutable;
 * many threads may use it. tokenizer_config.json sets model_max_length, truncation_side, the unk, sep, pad, cls and
 * mask tokens (text or object with "content"), added tokens, and for BertTokenizer do_lower_case (default: true),
 * strip_accents (default: same as do_lower_case) and tokenize_chinese_chars (default: true). The tokenizer of static
 * embeddings (StaticEmbedding, model2vec) puts no special tokens around a text.
 * @param tokenizer  Receives the tokenizer; the caller owns it. Not written on error.
 * @return SS1_OK; SS1_ERROR_IO (no vocabulary, or unreadable); SS1_ERROR_FORMAT (the message has file, line or key,
 *         value and rule; also a vocabulary without its unk, sep, pad or cls token, files that contradict each other);
 *         SS1_ERROR_UNSUPPORTED (a step, model or class that ss1 lacks, a token whose id in Hugging Face depends on an
 *         order that the files do not keep, a build without ICU); SS1_ERROR_INVALID_ARGUMENT; SS1_ERROR_OUT_OF_MEMORY.
 * @since 0.1
 */
SS1_API ss1_status ss1_tokenizer_load(ss1_context *context, const char *directory, ss1_tokenizer **tokenizer);

/** Destroy a tokenizer and set *tokenizer to NULL; accepts NULL and pointers to NULL. No call may be under way.
 * @since 0.1 */
SS1_API void ss1_tokenizer_destroy(ss1_tokenizer **tokenizer);

/** Rules, limits and special tokens of a tokenizer. @since 0.1 */
typedef struct ss1_tokenizer_info {
    uint32_t struct_size;
    int32_t lower_case, strip_accents, split_ideographs; /**< of BERT's rules. 1: it does, 0: it does not */
    size_t vocab_size; /**< ids are below it: those of the vocabulary, then the added tokens */
    size_t max_tokens; /**< the smaller of model_max_length (or max_seq_length of sentence-transformers, which replaces
                          it) and the model's positions; 0: no limit */
    int64_t unk, sep, pad, cls; /**< ids; -1: there is none */
    int64_t mask;               /**< id; -1: there is none */
} ss1_tokenizer_info;
#define SS1_TOKENIZER_INFO_INIT \
    { sizeof(ss1_tokenizer_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** Describe a tokenizer. @return SS1_OK or SS1_ERROR_INVALID_ARGUMENT. @since 0.1 */
SS1_API ss1_status ss1_tokenizer_describe(const ss1_tokenizer *tokenizer, ss1_tokenizer_info *info);

/**
 * Text of a token as in the vocabulary, e.g. "##ing".
 * @param token  Receives the text, UTF-8, owned by the tokenizer. Not written on error.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (id is not in [0, vocab_size), or the vocabulary leaves it out).
 * @since 0.1
 */
SS1_API ss1_status ss1_tokenizer_token(const ss1_tokenizer *tokenizer, int64_t id, const char **token);

/** Text in UTF-8, not zero terminated; data may be NULL if bytes is 0. Bytes that are not UTF-8 count as U+FFFD, as in
 * Python's bytes.decode(errors="replace"): BERT drops it. @since 0.1 */
typedef struct ss1_text {
    uint32_t struct_size; /**< @since 0.2 */
    const char *data;
    size_t bytes;
} ss1_text;
#define SS1_TEXT_INIT \
    { sizeof(ss1_text), 0, 0 }

/**
 * Arguments of ss1_tokenizer_encode().
 *   .n               Rows: texts, or pairs of texts. 0 does nothing.
 *   .first, .second  [n]; second NULL: no pairs.
 *   .max_tokens      T, special tokens included, which must fit (BERT: 2, pairs: 3); 0 = the tokenizer's max_tokens.
 *                    Longer rows lose tokens at their end, or at their beginning if truncation_side is "left"; in a
 *                    pair the longer text first, until both have equal length ("longest_first").
 *   .input_ids       i64 [n, T] out: the row, then the pad token (0 if there is none). BERT's rows are [CLS] first
 *                    [SEP], or [CLS] first [SEP] second [SEP]; the post_processor of tokenizer.json decides for
 *                    others.
 *   .attention_mask  i64 [n, T] out: 1 for tokens, 0 for padding; or NULL.
 *   .token_type_ids  i64 [n, T] out: for BERT 1 for the second text and its [SEP], else 0; or NULL.
 *   .ld              Leading dimension of these and of begins and ends, >= T (0 = T). Columns T..ld-1 are kept.
 *   .lengths         [n] out: tokens of each row, without padding; or NULL.
 *   .begins, .ends   i64 [n, T] out: the bytes [begin, end) of its text that each token comes from; either or both may
 *                    be NULL. 0 and 0 for special tokens and padding that the tokenizer adds. They are the offsets of
 *                    Hugging Face's tokenizers 0.23, in bytes: from the first byte of the character that became the
 *                    token's first character after normalisation to the last byte of the character that became its
 *                    last. So with BERT's rules a dropped accent after the last letter is outside, one between two
 *                    letters inside; pieces of one character (decomposed Hangul, bytes of BPE) have the same place; the
 *                    unknown token has the place of all that is unknown. With BERT's rules all tokens of a text have
 *                    begin < end, and neither begins nor ends decrease.
 * @since 0.1
 */
typedef struct ss1_tokenize_args {
    uint32_t struct_size;
    size_t n;
    const ss1_text *first, *second;
    size_t max_tokens;
    int64_t *input_ids, *attention_mask, *token_type_ids;
    size_t ld;
    size_t *lengths;
    int64_t *begins, *ends;
} ss1_tokenize_args;
#define SS1_TOKENIZE_ARGS_INIT \
    { sizeof(ss1_tokenize_args), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Convert texts to ids and places, on the context's threads; a row depends on nothing but its texts.
 * A special token written in the text counts as that token: "[SEP]" gives the id of [SEP], also inside a word.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (NULL, max_tokens or ld too small, outputs that overlap);
 *         SS1_ERROR_OUT_OF_MEMORY (with a tokenizer that allocates, rows may have been written).
 * @note Thread-safe. With BERT's rules, no added token that is normalized, and truncation at the end it allocates
 * nothing; otherwise memory in proportion to the longest text.
 * @since 0.1
 */
SS1_API ss1_status ss1_tokenizer_encode(const ss1_tokenizer *tokenizer, const ss1_tokenize_args *args);

/**
 * Arguments of ss1_model_encode().
 *   .n               Texts, or pairs of texts. 0 does nothing.
 *   .first, .second  [n]; second NULL: no pairs.
 *   .output          What to compute: NULL = "sentence_embedding", or another output f32 [B, d] of the model: "logits",
 *                    "pooled".
 *   .prompt          Name of the prompt that is put in front of each first text; "" = none; NULL = the model's default
 *                    prompt. Every model understands "query" and "document": without a prompt of that name, documents
 *                    get "passage" or "corpus", else both get the prompt of NULL.
 *   .max_tokens      Longer rows are cut, as in ss1_tokenizer_encode(); 0 = the limit of model and tokenizer.
 *   .batch_tokens    Tokens of one run, counted as if each text were padded to the longest. Texts of similar length
 *                    run together; a longer text runs alone. 0 = 4096. It changes speed and memory, never the result.
 *   .dimensions      0 = all values of the output; else the first ones alone (Matryoshka), again of length 1 if the
 *                    model's last module is Normalize; must be 0 for SPLADE, whose values belong to words.
 *   .y               f32 [n, dimensions] out, in the order of the texts.
 *   .ldy             Leading dimension of y and scores, >= dimensions (0 = dimensions).
 *   .scores          f32 [n, dimensions] out: y under the model's ss1_model_info.score_activation; needs output
 *                    "logits"; NULL: none.
 * @since 0.2
 */
typedef struct ss1_encode_args {
    uint32_t struct_size;
    size_t n;
    const ss1_text *first, *second;
    const char *output, *prompt;
    size_t max_tokens, batch_tokens, dimensions;
    float *y;
    size_t ldy;
    float *scores;
} ss1_encode_args;
#define SS1_ENCODE_ARGS_INIT \
    { sizeof(ss1_encode_args), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Texts in, vectors out: tokenise, run and pool, on the context's threads. A row depends on nothing but its texts, bit
 * for bit.
 * @param tokenizer  Of the model's directory.
 * @return SS1_OK; SS1_ERROR_INVALID_ARGUMENT (NULL, a name that the model does not have, sizes, the tokenizer of
 * another model); SS1_ERROR_UNSUPPORTED (scores with an activation that ss1 lacks); SS1_ERROR_OUT_OF_MEMORY. Rows of y
 * may have been written before an error.
 * @note Thread-safe. Each call makes sessions of its own: use ss1_tokenizer_encode() and a session of yours where no
 *       call may allocate. @since 0.2
 */
SS1_API ss1_status ss1_model_encode(ss1_model *model, const ss1_tokenizer *tokenizer, const ss1_encode_args *args);

#ifdef __cplusplus
}
#endif

#endif
