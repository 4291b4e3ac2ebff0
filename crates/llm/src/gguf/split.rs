//! Models in several files: each is a GGUF file of its own, the first has all metadata, and no byte of one is ever read as if
//! it followed another's.

use std::path::{Path, PathBuf};

use super::{Gguf, LlmError};

/// How many files there are, and which of them this is, from 0 on.
const COUNT: &str = "split.count";
const NUMBER: &str = "split.no";
/// Tensors in all files together.
const TENSORS: &str = "split.tensors.count";

/// Digits of a number in the name of a file.
const DIGITS: usize = 5;

/// How many files the model of a file has. Programs that join a split model into one file leave the key there, with 0.
pub(super) fn count(shard: &Gguf) -> Result<usize, LlmError> {
    Ok(shard.get_u32(COUNT)?.unwrap_or(0).max(1) as usize)
}

/// Opens the other files of a split model beside the one at `path`, which is open already.
pub(super) fn open(path: &Path, opened: Gguf) -> Result<Gguf, LlmError> {
    let count = count(&opened)?;
    let own = opened.u32(NUMBER)? as usize;
    let problem = |problem: String| Err(LlmError::Shard { path: path.to_owned(), problem });
    let Some((prefix, number, of)) = parts(path) else {
        return problem(format!(
            "it is number {} of {count} files, and its name does not end in -{:05}-of-{count:05}.gguf",
            own + 1,
            own + 1,
        ));
    };
    if (number, of) != (own + 1, count) {
        return problem(format!(
            "by its name it is number {number} of {of} files, by its content {} of {count}",
            own + 1
        ));
    }
    let mut opened = Some(opened);
    let mut shards = Vec::new();
    for number in 1..=count {
        let shard = opened.take_if(|_| number == own + 1);
        let beside = path.with_file_name(format!("{prefix}-{number:05}-of-{count:05}.gguf"));
        shards.push(shard.map_or_else(|| Gguf::open_one(&beside), Ok)?);
    }
    join(shards)
}

/// The name of a split model's file: what comes before the numbers, its number from 1 on, and how many there are.
fn parts(path: &Path) -> Option<(String, usize, usize)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
    let (rest, of) = name.rsplit_once("-of-")?;
    let (prefix, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| -> Option<usize> {
        (text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    Some((prefix.to_owned(), digits(number)?, digits(of)?))
}

/// Makes one model of its files, which are in order.
pub(super) fn join(shards: Vec<Gguf>) -> Result<Gguf, LlmError> {
    let files = shards.len();
    let mut shards = shards.into_iter();
    let Some(mut model) = shards.next() else {
        return Err(LlmError::Format { offset: 0, problem: "there is no file".into() });
    };
    if files == 1 && count(&model)? == 1 {
        return Ok(model);
    }
    check(&model, 0, files)?;
    for (number, shard) in shards.enumerate().map(|(number, shard)| (number + 1, shard)) {
        check(&shard, number, files)?;
        for mut tensor in shard.tensors {
            tensor.shard = number;
            if model.index.insert(tensor.name.clone(), model.tensors.len()).is_some() {
                return Err(misfit(number, format!("the tensor `{}` is in another file, too", tensor.name)));
            }
            model.tensors.push(tensor);
        }
        model.shards.extend(shard.shards);
    }
    model.pack_i2s_as_stated()?;
    match model.get_u32(TENSORS)? {
        Some(tensors) if tensors as usize != model.tensors.len() => Err(misfit(
            0,
            format!("all files should have {tensors} tensors and have {}", model.tensors.len()),
        )),
        _ => Ok(model),
    }
}

fn check(shard: &Gguf, number: usize, files: usize) -> Result<(), LlmError> {
    let (own, of) = (shard.u32(NUMBER)? as usize, count(shard)?);
    if (own, of) == (number, files) {
        return Ok(());
    }
    Err(misfit(number, format!("it says that it is number {} of {of} files", own + 1)))
}

fn misfit(number: usize, problem: String) -> LlmError {
    LlmError::Shard { path: PathBuf::from(format!("number {}", number + 1)), problem }
}
