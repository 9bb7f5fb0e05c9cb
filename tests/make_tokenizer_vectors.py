# SPDX-License-Identifier: Apache-2.0
"""Make the vectors for the tests of the tokenizer: the output of Hugging Face's tokenizers for texts of many scripts.

    python3 tests/make_tokenizer_vectors.py --out FOLDER         # needs tokenizers; compares with transformers if installed
    python3 tests/make_tokenizer_vectors.py --vocabulary MAILS   # makes tests/data/tokenizer/vocab.txt; needs nothing

FOLDER/vectors.json is the file in tests/data/tokenizer. FOLDER/details.json.gz has the data behind its hashes.

vectors.json: `configs` (the keys of tokenizer_config.json), `texts`, and for each config
  ids         token ids of each text, with [CLS] and [SEP]
  offsets     for each text the bytes that its tokens come from: begin, end, begin, end, ...
  pairs       [first text, second text, max_tokens (0: no limit), ids, type ids, offsets]
  truncated   [text, max_tokens, ids, offsets]
  words       for each block of 4096 code points the hash of the words of the text "a" + c + "b|" for each c of the
              block but surrogates, each word followed by a zero byte, before WordPiece
  marks       for each block the hash of the words of the text "a" + U+302E + c + "b|a" + U+1D165 + c + "b|" for each c:
              the order of combining characters
  random      for each 1000 texts of random_text() the hash of their ids, each as 4 bytes, little endian
  random_pairs  for each 1000 pairs of random texts, cut to 3 to 42 tokens, the hash of their ids, each pair's followed by the
              number of its tokens with type id 0
  random_offsets, random_pairs_offsets  the hashes of the same texts' offsets
A hash is FNV-1a, 64 bits.
"""
import argparse
import collections
import gzip
import itertools
import json
import multiprocessing
import pathlib
import re
import sys
import tempfile

DATA = pathlib.Path(__file__).resolve().parent / "data/tokenizer"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CONFIGS = [{"do_lower_case": True},
           {"do_lower_case": True, "strip_accents": False},
           {"do_lower_case": False},
           {"do_lower_case": False, "strip_accents": True},
           {"do_lower_case": True, "strip_accents": True, "tokenize_chinese_chars": False},
           {"do_lower_case": False, "strip_accents": None, "tokenize_chinese_chars": False}]
BLOCK, GROUP, GROUPS, PAIR_GROUPS = 4096, 1000, 8, 4

# Letters that are both a token and a continuation in the vocabulary, and letters that are only a token.
LETTERS = [(0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A), (0xDF, 0xF6), (0xF8, 0xFF), (0x3B1, 0x3C9), (0x430, 0x44F), (0x451, 0x45F),
           (0x561, 0x586), (0x5D0, 0x5EA), (0x621, 0x64A), (0x905, 0x914), (0x915, 0x939), (0x93E, 0x943), (0xE01, 0xE3A),
           (0x10D0, 0x10F0), (0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2), (0x3041, 0x3093), (0x30A1, 0x30F6)]
OTHERS = [(0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E), (0xA1, 0xBF), (0x2010, 0x2027), (0x2190, 0x2199), (0x3001, 0x3011),
          (0x4E00, 0x4E7F), (0xF900, 0xF90F), (0x1F600, 0x1F60F), (0xAC00, 0xAC1F)]
WORDS = """São naïve café Café résumé straße STRASSE Ångström Übung İstanbul ıstanbul Οδυσσεύς οδυσσευς ΟΔΥΣΣΕΥΣ привет Привет мир ёлка елка
Україна שלום שָׁלוֹם مرحبا مَرحَبا नमस्ते สวัสดี გამარჯობა 안녕 안녕하세요 こんにちは コンニチハ ガ 日本語 中国 ½ ﬁ ﬁne ①②""".split()
DUPLICATES = ["duplicate", "the", "duplicate"]  # the last line counts

# The characters of random_text().
ALPHABETS = [(0x20, 0x7E), (0x61, 0x7A), (0x61, 0x7A), (0x41, 0x5A), (0x00, 0x1F), (0x7F, 0xFF), (0x100, 0x24F), (0x250, 0x2FF), (0x300, 0x36F),
             (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x58F), (0x591, 0x5F4), (0x600, 0x6FF), (0x700, 0x7FF), (0x900, 0x97F),
             (0x980, 0xDFF), (0xE00, 0xE7F), (0xF00, 0xFFF), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF),
             (0x1380, 0x1CFF), (0x1DC0, 0x1DFF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x20D0, 0x20FF), (0x2100, 0x2BFF),
             (0x2C00, 0x2FFF), (0x3000, 0x30FF), (0x302A, 0x302F), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xABFF),
             (0xAC00, 0xD7FF), (0xE000, 0xE0FF), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFE6F), (0xFE70, 0xFFFF),
             (0x10000, 0x107FF), (0x10800, 0x10FFF), (0x11000, 0x11FFF), (0x16A00, 0x16FFF), (0x1D100, 0x1D1FF),
             (0x1D400, 0x1D7FF), (0x1E000, 0x1EFFF), (0x1F000, 0x1FAFF), (0x20000, 0x2FFFF), (0x30000, 0x10FFFF)]

TEXTS = [
    "", " ", "hello world", "Hello, World!", "The quick brown fox jumps over the lazy dog.", "the THE The tHe", "unaffable",
    "don't can't won't it's", "e-mail: someone@example.org, https://example.org/a?b=c&d=e#f", "$1,000.00 + 25% = ???", "a_b__c", "~`!@#$%^&*()_+-={}|[]\\:\";'<>?,./",
    "tabs\tand\nnew\r\nlines\x0bvertical\x0cform", "bell\x07null\x00delete\x7fescape\x1b[0m", "c1 \x80\x85\x9f controls", "nbsp\u00a0thin\u2009hair\u200aem\u2003fig\u2007",
    "line\u2028para\u2029ogham\u1680ideographic\u3000narrow\u202fmath\u205f", "zero\u200bwidth\u200cjoin\u200der\u2060word\ufeffbom", "soft\u00adhyphen", "\ufeffstarts with a mark", "\u180emongolian\u180evowel",
    "rtl \u202bembedded\u202c \u2067isolate\u2069 \u200f\u200e", "replacement \ufffd char\ufffdacter", "noncharacters \ufdd0 \uffff \U0001ffff a\ufffeb", "\ud7ff\ue000 beside the surrogates \uf8ff", "private \ue000\ue001 use \U000f0000\U0010fffd planes",
    "São Tomé naïve café résumé façade Ångström", "Sa\u0303o cafe\u0301 re\u0301sume\u0301 A\u030angstro\u0308m", "\u0301 lone accent", "a\u0301\u0302\u0303\u0304\u0305\u0306 stacked", "e\u0301\u0323 e\u0323\u0301 order", "\u1e9b\u0323 \u1e69 s\u0323\u0307 s\u0307\u0323",
    "straße STRASSE Straße ẞ ß", "İstanbul ISTANBUL ıstanbul i\u0307stanbul I\u0307", "Οδυσσεύς ΟΔΥΣΣΕΥΣ ΣΑΣ Σ ς σ ΑΣ ΑΣ.", "ΐ ΰ ᾳ ᾼ ῼ Ὀδυσσεύς ά ά", "ﬁne ﬀect ﬃ ﬅ Ǆ ǅ ǆ Ĳ ĳ ŉ ǰ", "Ⅷ ⅷ ½ ¼ ① ⑴ ㎏ ㍿ ™ ℃ ℵ ª º ² ³", "ℌ 𝐇𝐞𝐥𝐥𝐨 𝒲ℴ𝓇𝓁𝒹 𝟘𝟙", "Ｆｕｌｌｗｉｄｔｈ，ｔｅｘｔ！　ﾊﾝｶｸ ｶﾞ",
    "Привет, мир! Ёлка ёлка ЁЛКА Україна ї й И\u0306", "Ѐ ѝ Ѷ ѷ Ӂ ӂ Ӝ", "Ⴀ ა Ა ᲀ გამარჯობა ᲒᲐᲛᲐᲠᲯᲝᲑᲐ", "Բարեւ ԲԱՐԵՒ և ՙ՚՛՜", "Ꭰ ꭰ Ᏼ ᏼ Ꮜ", "Ⰰ ⰰ Ⲁ ⲁ Ꙁ ꙁ Ꜩ ꜩ Ɥ Ɦ Ꞌ Ɪ Ʞ 𐐀 𐐨 𐒰 𐓘 𞤀 𞤢 𑢠 𑣀 𖹀 𖹠",
    "שָׁלוֹם עֲלֵיכֶם שלום־עליכם ׀ ׃ ׆", "مَرْحَبًا بِالعَالَم مرحبا، كيف؟ ـــ ٪ ٠١٢ لا ﷺ ﻻ", "ܫܠܡܐ ހެލޯ ߊߓߊ", "नमस्ते दुनिया क़ ख़ ज़ ड़ श्री ।॥", "স্বাগতম ড় ঢ় য় ো ৌ", "ਸਤਿ ਸ਼ ਖ਼ ਗ਼ વિશ્વ ଡ଼ ଢ଼", "வணக்கம் உலகம் ொ ோ ௌ తెలుగు ಕನ್ನಡ ೋ മലയാളം ൊ සිංහල ෝ",
    "สวัสดีชาวโลก ำ ฿ ๏ ສະບາຍດີ ຳ", "བོད་ཡིག ཀྵ གྷ ཱི ཱུ ྲྀ ། ༎", "မင်္ဂလာပါ ဦ ជំរាបសួរ ។", "한국어 텍스트 안녕하세요 가각갂 힣", "\u1112\u1161\u11ab\u1100\u116e\u11a8 jamo", "こんにちは世界 カタカナ ガギグ か\u3099 は\u309a ー・", "日本語とEnglishと中文混合。", "中文，标点！「引号」《书名》、；", "豈更車 侮僧 﨑 塚 丽丸乁 𠀀𪛖 𫜴 𫝀 㐀䶵 鿕 〇 々 〆",
    "ㄅㄆㄇ ꀀ ꒐ 𛀁 𗀀 𘠀", "👍🏽 👨‍👩‍👧‍👦 🇩🇪 ❤️ ☺︎ 1️⃣ #️⃣ 🏴\U000e0067\U000e0062\U000e007f", "😀😁😂 smile😀d 🤣x", "← → ⇒ ∀x∈ℝ ∑ ∫ √2 ≠ ≠ ⫝̸ ∤",
    "“quoted” ‘single’ «guillemets» „low‟ ‹x› – — … ‰ ′ ″ ‽ ⁂", "¿Qué? ¡Hola! § ¶ · † ‡ • ¨ ´ ` ¸ ˆ ˜", "¢£¤¥€₽₿ ©®°±×÷¬¦", "៖ ᙭ ᙮ ៚ 𑇉 ᜴ ᢅ ᢆ ꦽ", "ᚁ᚛ᚎ᚜ ᛫᛬ 𐄀𐄁 𐩐 𑁇 𒑰 𖩮 𖫵 𛲟 𝪇",
    "𑄮 𑄯 𑍋 𑒻 𑖺 𑤸 𝅗𝅥 𝆹𝅥𝅯", "a\u0334b\u0334 a\u1ab0\u0334 a\u1abf\u0334 a\U0001e130\u0334 a\U00010eab\u0334 a\u0898\u0334 a\U00010efd\u0334", "\u302a\u302b\u302e\u302f x\u302e\u302a x\u302a\u302e", "a\u20dd b\u20e3 c\u20e5\u20d2 d\U0001d165\U0001d16e\u0334", "a\u035d\u0323 a\u0345\u0301 a\u0301\u0345 α\u0345\u0301",
    "[CLS]", "[SEP]", "[CLS] [SEP] [MASK] [PAD] [UNK]", "a[MASK]b [MASK].", "the [MASK] of", "[mask] [Mask] [ MASK ] [MASK", "[CLS[SEP]]", "[[CLS]]", "x[UNK]y", "[M\u0000ASK] [MASK\u0301]", "\u0301[SEP]\u0301", "e[SEP]\u0301", "[unused1] [unused99]", "##ing ing ##", "#hashtag ##the", "duplicate duplicates",
    "a" * 99, "a" * 100, "a" * 101, "the" * 34, "é" * 100, "é" * 101, "x" * 300 + " y", "가" * 50, "가" * 34, "日" * 120, "!" * 120, "a" * 60 + "\u200b" * 80 + "b" * 40, "İ" * 60, "ΐ" * 60, "a" + "\u0301" * 150, "a" + "\u20dd" * 120,
    "supercalifragilisticexpialidocious antidisestablishmentarianism", "internationalization localisation unbelievability", "zzzz qqqq xylophone9 42nd 3.14159 1e-5 0x7f", "MiXeD cAsE wOrDs AND UPPER and lower",
    "Dear Sir, I am Mr. Barrister; please CLICK HERE for your $$$ FREE prize!!! http://www.example.com", "On Wed, 2002-08-14 at 02:16, Victor wrote: > Can someone tell me what I am doing wrong?", "%define real_name Mail-SpamAssassin", "-----BEGIN PGP SIGNATURE-----", "________________________________",
    "\U0001e900\U0001e922\U0001e94a \u1c89\u1c8a \ua7cb\ua7cc\ua7da\ua7dc \U00010d50\U00010d70 \ua7ce\ua7d2", "\u2c2f\u2c5f \ua7c0\ua7c1 \ua7d0\ua7d6 \u1e9e \u2126 \u212a \u212b", "\u0340\u0341\u0343\u0344\u0374\u037e\u0387\u1fef\u2000\u2001\u2329\u232a", "\u0958\u0f43\u0f73\u0fac\ufb1d\ufb4e\ufb1f", "\u2adc \U0001d15e \U0001d1bb \U000110ab \U00011938 \U000105c9",
]
PAIRS = [("hello world", "Hello, World!"), ("", ""), ("hello", ""), ("", "world"), ("The quick brown fox jumps over the lazy dog.", "unaffable"),
         ("unaffable", "The quick brown fox jumps over the lazy dog."), ("[CLS] [SEP] [MASK] [PAD] [UNK]", "a[MASK]b [MASK]."),
         ("日本語とEnglishと中文混合。", "MiXeD cAsE wOrDs AND UPPER and lower"),
         ("don't can't won't it's", "don't can't won't it's"), ("a_b__c", "$1,000.00 + 25% = ???")]
PAIR_LIMITS = [0, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 21]
LIMITS = [2, 3, 4, 5, 8, 16]


def characters(ranges):
    return [chr(c) for begin, end in ranges for c in range(begin, end + 1)]


def make_vocabulary(mails):
    """Special tokens, letters of many scripts, then the most frequent words and word endings of the mails."""
    words = collections.Counter()
    with gzip.open(mails, "rt") as lines:
        for line in lines:
            words.update(re.findall("[A-Za-z]+", json.loads(line)["text"]))
    lower = collections.Counter()
    endings = collections.Counter()
    for word, n in words.items():
        lower[word.lower()] += n
        for k in range(2, 7):
            if len(word) > k + 1:
                endings[word[-k:].lower()] += n
    letters = characters(LETTERS)
    tokens = SPECIAL + [f"[unused{i}]" for i in range(10)] + letters + characters(OTHERS) + ["##" + c for c in letters]
    tokens += WORDS + [word for word, _ in lower.most_common(1100)] + [word for word, _ in words.most_common(400) if word != word.lower()]
    tokens += ["##" + ending for ending, _ in endings.most_common(500)] + ["##"]
    unique = list(dict.fromkeys(token for token in tokens if token not in DUPLICATES))
    return unique[:1000] + [DUPLICATES[0]] + unique[1000:] + DUPLICATES[1:]


def read_vocabulary():
    return (DATA / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]


def fnv(data, state=0xCBF29CE484222325):
    for byte in data:
        state = ((state ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return state


class Random:
    """Knuth's MMIX generator; the same numbers in every language."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        return (self.state >> 33) % n


def random_text(random, vocabulary):
    """Up to 40 pieces: characters of ALPHABETS, tokens of the vocabulary, blanks, special tokens, runs of one character."""
    text = ""
    for _ in range(1 + random.below(40)):
        kind = random.below(12)
        if kind < 2:
            token = vocabulary[random.below(len(vocabulary))]
            text += token[2:] if token.startswith("##") else token
        elif kind < 3:
            text += " "
        elif kind < 4 and random.below(4) == 0:
            text += SPECIAL[random.below(len(SPECIAL))]
        else:
            begin, end = ALPHABETS[random.below(len(ALPHABETS))]
            character = chr(begin + random.below(end - begin + 1))
            text += character * (1 + random.below(110)) if kind == 4 and random.below(8) == 0 else character
    return text


def make_tokenizer(config, vocabulary):
    from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece
    ids = {token: i for i, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"), lowercase=config["do_lower_case"])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


def encode(tokenizer, first, second=None, max_tokens=0):
    if max_tokens:
        tokenizer.enable_truncation(max_tokens, strategy="longest_first")
    else:
        tokenizer.no_truncation()
    return tokenizer.encode(first, second)


def byte_offsets(encoding, *texts):
    """begin, end, begin, end, ... of the tokens: bytes where tokenizers counts characters."""
    starts = [list(itertools.accumulate((len(c.encode()) for c in text), initial=0)) for text in texts]
    return [starts[sequence or 0][position] for sequence, offsets in zip(encoding.sequence_ids, encoding.offsets, strict=True)
            for position in offsets]


def fnv_numbers(numbers, state):
    return fnv(b"".join(i.to_bytes(4, "little") for i in numbers), state)


def block_words(tokenizer, block, pattern):
    text = "".join(pattern.format(chr(c)) for c in range(block * BLOCK, (block + 1) * BLOCK) if not 0xD800 <= c < 0xE000)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))]


def make_vectors(number):
    """Returns the vectors for one of CONFIGS, and the details behind its hashes."""
    config, vocabulary = CONFIGS[number], read_vocabulary()
    tokenizer = make_tokenizer(config, vocabulary)
    encodings = [encode(tokenizer, text) for text in TEXTS]
    vectors = {"config": config, "ids": [encoding.ids for encoding in encodings],
               "offsets": [byte_offsets(encoding, text) for encoding, text in zip(encodings, TEXTS)], "pairs": [], "truncated": []}
    for first, second in PAIRS:
        for limit in PAIR_LIMITS:
            encoding = encode(tokenizer, first, second, limit)
            vectors["pairs"].append([first, second, limit, encoding.ids, encoding.type_ids, byte_offsets(encoding, first, second)])
    for text in TEXTS[2:9]:
        for limit in LIMITS:
            encoding = encode(tokenizer, text, None, limit)
            vectors["truncated"].append([text, limit, encoding.ids, byte_offsets(encoding, text)])
    details = {"config": config, "random": [], "random_pairs": []}
    for key, pattern in (("words", "a{}b|"), ("marks", "a\u302e{0}b|a\U0001d165{0}b|")):
        words = [block_words(tokenizer, block, pattern) for block in range(0x110000 // BLOCK)]
        vectors[key] = [f"{fnv(b''.join(word.encode() + bytes(1) for word in block)):016x}" for block in words]
        details[key] = ["\0".join(block) for block in words]
    random = Random(number + 1)
    for key, groups in (("random", GROUPS), ("random_pairs", PAIR_GROUPS)):
        vectors[key], vectors[f"{key}_offsets"] = [], []
        for _ in range(groups):
            state = offsets_state = fnv(b"")
            for _ in range(GROUP):
                case = [random_text(random, vocabulary)]
                if key == "random_pairs":
                    case += [random_text(random, vocabulary), 3 + random.below(40)]
                encoding = encode(tokenizer, *case)
                numbers = encoding.ids + ([encoding.type_ids.count(0)] if len(case) > 1 else [])
                offsets = byte_offsets(encoding, *case[:2])
                details[key].append([case, numbers, offsets])
                state = fnv_numbers(numbers, state)
                offsets_state = fnv_numbers(offsets, offsets_state)
            vectors[key].append(f"{state:016x}")
            vectors[f"{key}_offsets"].append(f"{offsets_state:016x}")
    return vectors, details


def compare_with_transformers(vectors):
    """Texts, pairs and truncation through BertTokenizer of a folder: the settings must mean the same there."""
    import transformers
    differences = []
    for config in vectors:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "vocab.txt").write_bytes((DATA / "vocab.txt").read_bytes())
            settings = {"tokenizer_class": "BertTokenizer", "model_max_length": 512, **config["config"]}
            (folder / "tokenizer_config.json").write_text(json.dumps(settings))
            tokenizer = transformers.BertTokenizer.from_pretrained(str(folder))
            for text, ids in zip(TEXTS, config["ids"]):
                got = list(tokenizer(text)["input_ids"])
                if got != ids:
                    differences.append([config["config"], text, ids, got])
            for first, second, limit, ids, types, _ in config["pairs"]:
                if not second:  # transformers takes an empty second text for none
                    continue
                options = {"truncation": "longest_first", "max_length": limit} if limit else {}
                got = tokenizer(first, second, return_token_type_ids=True, **options)
                if [list(got["input_ids"]), list(got["token_type_ids"])] != [ids, types]:
                    differences.append([config["config"], [first, second, limit], [ids, types],
                                        [list(got["input_ids"]), list(got["token_type_ids"])]])
    return transformers.__version__, differences


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--vocabulary", type=pathlib.Path, metavar="MAILS")
    arguments = parser.parse_args()
    if arguments.vocabulary:
        (DATA / "vocab.txt").write_text("".join(token + "\n" for token in make_vocabulary(arguments.vocabulary)), encoding="utf-8")
        return
    import tokenizers
    arguments.out.mkdir(parents=True, exist_ok=True)
    with multiprocessing.Pool(len(CONFIGS)) as pool:
        vectors, details = zip(*pool.map(make_vectors, range(len(CONFIGS))))
    document = {"tokenizers": tokenizers.__version__, "texts": TEXTS, "alphabets": ALPHABETS, "block": BLOCK, "group": GROUP,
                "vectors": vectors}
    with gzip.open(arguments.out / "details.json.gz", "wt", compresslevel=1, encoding="utf-8") as file:
        json.dump(details, file, ensure_ascii=False)
    (arguments.out / "vectors.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
    try:
        version, differences = compare_with_transformers(vectors)
    except Exception as error:  # the vectors need only tokenizers
        sys.exit(f"no comparison with transformers: {error!r}")
    (arguments.out / "transformers.json").write_text(json.dumps({"version": version, "differences": differences}, indent=1))
    print(f"{sum(len(v['ids']) for v in vectors)} texts, {len(differences)} differences to transformers {version}")


if __name__ == "__main__":
    main()
