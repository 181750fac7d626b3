//! Every way in which a file can lie.

use super::*;
use proptest::prelude::*;

/// An llm.c file with this header and these bytes behind it.
fn shard(header: [i32; 3], tokens: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = header.iter().flat_map(|x| x.to_le_bytes()).collect();
    bytes.resize(HEADER, 0);
    bytes.extend(tokens);
    bytes
}

fn u16s(tokens: &[u32]) -> Vec<u8> {
    tokens.iter().flat_map(|t| (*t as u16).to_le_bytes()).collect()
}

fn u32s(tokens: &[u32]) -> Vec<u8> {
    tokens.iter().flat_map(|t| t.to_le_bytes()).collect()
}

fn read(path: &str, bytes: &[u8], format: &str) -> Result<Vec<u32>, String> {
    let tokens = Tokens::read(path, bytes.to_vec(), format).map_err(|e| e.to_string())?;
    assert_eq!(tokens.is_empty(), tokens.iter(0..tokens.len()).next().is_none());
    Ok(tokens.iter(0..tokens.len()).collect())
}

#[test]
fn each_format_gives_its_tokens() {
    let (small, large) = ([0, 1, 50_256, 65_535], [0, 128_255, u32::MAX]);
    let gpt2 = shard([20_240_520, 1, 4], &u16s(&small));
    let llama = shard([20_240_801, 7, 3], &u32s(&large));
    for format in ["auto", "llmc"] {
        assert_eq!(read("a", &gpt2, format).as_deref(), Ok(&small[..]));
        assert_eq!(read("a.txt", &llama, format).as_deref(), Ok(&large[..]));
    }
    for (path, format) in [("a.bin", "auto"), ("A.BIN", "auto"), ("a", "nanogpt"), ("a.txt", "nanogpt")] {
        assert_eq!(read(path, &u16s(&small), format).as_deref(), Ok(&small[..]), "{path} {format}");
    }
    for (path, format) in [("a.txt", "auto"), ("a.bin", "text")] {
        assert_eq!(read(path, "aé\0".as_bytes(), format), Ok(vec![97, 0xc3, 0xa9, 0]), "{path} {format}");
    }
    // A header alone is a file of no tokens.
    assert_eq!(read("a", &shard([20_240_520, 1, 0], &[]), "llmc"), Ok(vec![]));
}

#[test]
fn each_lie_is_one_line() {
    let four = u16s(&[1, 2, 3, 4]);
    let good = shard([20_240_520, 1, 4], &four);
    let cases: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("a.bin", vec![], "auto", "path: a.bin: is empty"),
        ("a.bin", vec![], "text", "path: a.bin: is empty"),
        ("a", vec![0; 1023], "llmc", "path: a: 1023 bytes, llm.c's header alone has 1024"),
        ("a", good[..1023].to_vec(), "auto", "path: a: 1023 bytes, llm.c's header alone has 1024"),
        ("a", good[..4].to_vec(), "auto", "path: a: 4 bytes, llm.c's header alone has 1024"),
        ("a", good[..1030].to_vec(), "auto", "path: a: the header states 4 tokens, the file holds 3"),
        ("a", good[..1031].to_vec(), "auto", "path: a: the header states 4 tokens, the file holds 3 and a part of one"),
        ("a", [&good[..], &[0; 2]].concat(), "auto", "path: a: the header states 4 tokens, the file holds 5"),
        (
            "a",
            shard([20_240_520, 1, i32::MAX], &four),
            "auto",
            "path: a: the header states 2147483647 tokens, the file holds 4",
        ),
        ("a", shard([20_240_520, 1, -4], &four), "auto", "path: a: the header states -4 tokens, the file holds 4"),
        (
            "a",
            shard([20_240_520, 1, i32::MIN], &four),
            "auto",
            "path: a: the header states -2147483648 tokens, the file holds 4",
        ),
        ("a", shard([20_240_520, 7, 4], &four), "auto", "path: a: version 7 of magic 20240520 is unknown; allowed: 1"),
        ("a", shard([20_240_801, 1, 2], &four), "auto", "path: a: version 1 of magic 20240801 is unknown; allowed: 7"),
        ("a", shard([20_240_801, 7, 4], &four), "auto", "path: a: the header states 4 tokens, the file holds 2"),
        ("a", shard([7, 1, 4], &four), "llmc", "path: a: magic 7 is unknown; allowed: 20240520 (u16), 20240801 (u32)"),
        (
            "a",
            shard([20_240_522, 1, 4], &four),
            "auto",
            "path: a: magic 20240522 is llm.c's evaluation file, which holds questions and no stream of tokens",
        ),
        ("a.bin", vec![1], "auto", "path: a.bin: 1 bytes, an odd number; nanoGPT's tokens take two each"),
        ("a.bin", vec![1; 31], "nanogpt", "path: a.bin: 31 bytes, an odd number; nanoGPT's tokens take two each"),
        (
            "a.bin",
            good,
            "nanogpt",
            "path: a.bin: has llm.c's header, which would be read as tokens; allowed: format llmc, auto",
        ),
        ("a.txt", b"ab\xff".to_vec(), "auto", "path: a.txt: not UTF-8 at byte 2"),
        ("a.txt", b"ab\xc3".to_vec(), "auto", "path: a.txt: not UTF-8 at byte 2"),
        ("a.npy", vec![1, 2], "auto", "format: auto knows no format for a.npy; allowed: llmc, nanogpt, text"),
        ("a", vec![1, 2], "auto", "format: auto knows no format for a; allowed: llmc, nanogpt, text"),
    ];
    for (path, bytes, format, expected) in cases {
        assert_eq!(read(path, &bytes, format).expect_err(expected), expected);
    }
}

#[test]
fn the_vocabulary_is_stated_or_what_the_file_needs() {
    let tokens =
        |list: &[u32]| Tokens::read("a", shard([20_240_801, 7, list.len() as i32], &u32s(list)), "llmc").unwrap();
    let file = tokens(&[3, 0, 9, 4, 9]);
    assert_eq!((file.vocab("a", 0), file.vocab("a", 10), file.vocab("a", 11)), (Ok(10), Ok(10), Ok(11)));
    let text = Tokens::read("a.txt", b"az".to_vec(), "auto").unwrap();
    assert_eq!((text.vocab("a", 0), text.vocab("a", 123)), (Ok(256), Ok(123)));
    let refused = |file: &Tokens, stated| file.vocab("a", stated).expect_err("too small").to_string();
    assert_eq!(
        refused(&file, 9),
        "vocab: a: token 9 at position 2 is not below the vocabulary 9; allowed: 10 to 1048576, or 0 for what the file needs"
    );
    assert!(refused(&text, 122).contains("token 122 at position 1 "));
    // What is reserved by token stays small, whatever the file asks for.
    for stated in [0, 5, MAX_VOCAB] {
        let why = refused(&tokens(&[1, u32::MAX]), stated);
        assert!(
            why.contains("token 4294967295 at position 1") && why.ends_with("allowed: tokens below 1048576"),
            "{why}"
        );
    }
    assert_eq!(tokens(&[MAX_VOCAB as u32 - 1]).vocab("a", 0), Ok(MAX_VOCAB));
    assert_eq!(tokens(&[]).vocab("a", 0), Ok(1));
}

proptest! {
    #[test]
    fn what_is_written_is_read(list in prop::collection::vec(any::<u32>(), 0..40), at in 0_usize..40, n in 0_usize..40) {
        let small: Vec<u32> = list.iter().map(|t| t % 65_536).collect();
        let count = list.len() as i32;
        prop_assert_eq!(read("a", &shard([20_240_801, 7, count], &u32s(&list)), "auto"), Ok(list.clone()));
        prop_assert_eq!(read("a", &shard([20_240_520, 1, count], &u16s(&small)), "auto"), Ok(small.clone()));
        if !small.is_empty() {
            prop_assert_eq!(read("a.bin", &u16s(&small), "nanogpt"), Ok(small.clone()));
        }
        let file = Tokens::read("a", shard([20_240_801, 7, count], &u32s(&list)), "auto").unwrap();
        prop_assert_eq!(file.largest(), list.iter().copied().max());
        if at + n <= list.len() {
            let mut target = vec![0; n];
            file.copy(at, &mut target);
            prop_assert_eq!(&target[..], &list[at..at + n]);
        }
    }

    #[test]
    fn any_bytes_give_tokens_that_they_hold_or_one_line(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        header in prop::option::of((prop::sample::select(vec![20_240_520, 20_240_801, 20_240_522, 0]), 0..8_i32, -2..40_i32)),
        format in prop::sample::select(FORMATS),
    ) {
        let bytes = header.map_or(bytes.clone(), |(magic, version, n)| shard([magic, version, n], &bytes));
        match Tokens::read("a.bin", bytes.clone(), format) {
            Ok(tokens) => {
                let header = if tokens.format() == "llmc" { HEADER } else { 0 };
                prop_assert_eq!(tokens.len() * tokens.width() + header, bytes.len());
            }
            Err(why) => prop_assert_eq!(why.to_string().lines().count(), 1),
        }
    }
}
