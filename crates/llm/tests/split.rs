//! Models in several files.

mod support;

use std::{fs, path::PathBuf, sync::Arc};

use glasshouse_llm::{
    Kernels, LlmError, Model, fingerprint,
    gguf::{Gguf, GgufWriter, MetadataValue, TensorSpecification, TensorType},
};
use support::{model_file, model_files};
use tempfile::TempDir;

/// The files of the model under the names that they come with.
fn directory(files: &[Vec<u8>]) -> (TempDir, Vec<PathBuf>) {
    let directory = TempDir::new().unwrap();
    let count = files.len();
    let paths = files.iter().enumerate().map(|(number, file)| {
        let path = directory.path().join(format!("a-of-model-{:05}-of-{count:05}.gguf", number + 1));
        fs::write(&path, file).unwrap();
        path
    });
    let paths = paths.collect();
    (directory, paths)
}

fn hash(gguf: Gguf) -> String {
    fingerprint(&Model::load_with(Arc::new(gguf), 1, Kernels::detect()).unwrap()).unwrap().hash
}

fn problem(result: Result<Gguf, LlmError>) -> String {
    let error = result.expect_err("the files do not fit");
    assert_eq!(error.code(), "model_file");
    error.to_string()
}

#[test]
fn a_model_computes_the_same_in_any_number_of_files_and_whichever_is_named() {
    let expected = hash(Gguf::from_vec(model_file()).unwrap());
    for count in [2, 3, 7] {
        let files = model_files(count);
        let (_directory, paths) = directory(&files);
        for path in &paths {
            let gguf = Gguf::open(path).unwrap();
            assert_eq!(gguf.shards().count(), count);
            assert_eq!(gguf.file_bytes(), files.iter().map(Vec::len).sum::<usize>());
            assert_eq!(hash(gguf), expected, "{}", path.display());
        }
        assert_eq!(hash(Gguf::from_shards(files).unwrap()), expected);
    }
}

#[test]
fn a_model_that_was_joined_into_one_file_is_one_file() {
    // As llama.cpp's own program leaves it, whatever its name.
    for count in [0, 1] {
        let mut writer = GgufWriter::new(
            Vec::new(),
            &[("split.count".to_owned(), MetadataValue::U32(count))],
            vec![TensorSpecification::new("a", &[4], TensorType::F32)],
        )
        .unwrap();
        writer.tensor([[0; 16]]).unwrap();
        let file = writer.finish().unwrap();
        let (_directory, paths) = directory(std::slice::from_ref(&file));
        for gguf in [Gguf::open(&paths[0]), Gguf::from_vec(file.clone()), Gguf::from_shards(vec![file])] {
            assert_eq!(gguf.unwrap().shards().count(), 1);
        }
    }
}

#[test]
fn files_that_do_not_belong_together_are_refused_with_a_reason() {
    let files = model_files(3);
    let (folder, paths) = directory(&files);
    fs::remove_file(&paths[1]).unwrap();
    let missing = problem(Gguf::open(&paths[0]));
    assert!(missing.contains("a-of-model-00002-of-00003.gguf"), "{missing}");

    // One in place of another.
    fs::write(&paths[1], &files[2]).unwrap();
    let other = problem(Gguf::open(&paths[0]));
    assert!(other.contains("number 2") && other.contains("it is number 3 of 3 files"), "{other}");
    let own = problem(Gguf::open(&paths[1]));
    assert!(own.contains("by its name it is number 2 of 3 files, by its content 3 of 3"), "{own}");

    // Under another name.
    let renamed = folder.path().join("model.gguf");
    fs::write(&renamed, &files[0]).unwrap();
    let renamed = problem(Gguf::open(&renamed));
    assert!(renamed.contains("number 1 of 3 files") && renamed.contains("-00001-of-00003.gguf"), "{renamed}");

    // Alone, too few, in another order, of a model in other parts, twice.
    assert!(problem(Gguf::from_vec(files[0].clone())).contains("number 1 of 3 files"));
    let chosen =
        |numbers: &[usize]| Gguf::from_shards(numbers.iter().map(|number| files[*number].clone()).collect());
    for numbers in [&[0, 1][..], &[1, 0, 2], &[0, 0, 2], &[0, 1, 2, 2]] {
        problem(chosen(numbers));
    }
    let mut mixed = files.clone();
    mixed[1] = model_files(2).remove(1);
    problem(Gguf::from_shards(mixed));
    assert!(Gguf::from_shards(vec![]).is_err());

    // A damaged one is told like any damaged file.
    let mut cut = files.clone();
    cut[2].truncate(50);
    assert!(matches!(Gguf::from_shards(cut), Err(LlmError::Format { .. })));
}
