//! The promises of the event log file.

use proptest::prelude::*;

use glasshouse_devices::Setup;

use super::*;
use crate::{Capability, Kernel, Life, Limits, ProcessId, RequestId, ToolTarget};

fn header() -> TraceHeader {
    TraceHeader {
        kernel: KernelConfig::with_seed(7),
        modules: vec![("react".into(), ModuleHash([1; 32]))],
        model: Some(ModelHash([2; 32])),
        extra: vec![("question".into(), "What is 17 * 23?".into())],
    }
}

fn inputs() -> Vec<Input> {
    vec![
        Input::RegisterTool { name: "clock".into(), target: ToolTarget::Service("mcp.clock".into()) },
        Input::Spawn {
            name: "react".into(),
            module: ModuleHash([1; 32]),
            entry: "run".into(),
            payload: b"{\"question\":\"17 * 23\"}".to_vec(),
            grants: vec![Capability::Service("model".into())],
            limits: Limits::default(),
            setup: Setup::default(),
            life: Life::Once,
        },
        Input::Kill { process: ProcessId(1), reason: crate::ExitReason::Deadline },
    ]
}

fn written(inputs: Vec<Input>) -> Vec<u8> {
    let mut kernel = Kernel::new(header().kernel);
    let mut writer = TraceWriter::new(Vec::new(), &header()).unwrap();
    for input in inputs {
        writer.input(&input).unwrap();
        for effect in kernel.apply(input).unwrap() {
            writer.append(&Record::Effect(effect)).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<Frame>, TraceError> {
    let (_, frames) = TraceReader::open(bytes)?;
    frames.collect()
}

#[test]
fn what_is_written_is_read_and_equal_runs_have_equal_bytes() {
    let bytes = written(inputs());
    assert_eq!(bytes, written(inputs()));
    let (found, frames) = TraceReader::open(&bytes).unwrap();
    assert_eq!(found, header());
    let frames: Vec<Frame> = frames.collect::<Result<_, _>>().unwrap();
    let read: Vec<Input> = frames
        .iter()
        .filter_map(|frame| match &frame.record {
            Record::Input(input) => Some(input.clone()),
            Record::Effect(_) => None,
        })
        .collect();
    assert_eq!(read, inputs());
    assert!(frames.len() > inputs().len());
    assert!(frames.iter().enumerate().all(|(index, frame)| frame.sequence == index as u64));
    assert!(frames.is_sorted_by_key(|frame| frame.offset));
}

#[test]
fn an_empty_log_is_a_log() {
    assert_eq!(read(&written(Vec::new())), Ok(Vec::new()));
}

#[test]
fn every_flipped_bit_is_found() {
    let bytes = written(inputs());
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1 << bit;
            let error = read(&damaged).expect_err(&format!("bit {bit} of byte {position}"));
            assert!(error.position() <= damaged.len(), "{error:?}");
        }
    }
}

#[test]
fn every_truncation_is_found_and_placed() {
    let bytes = written(inputs());
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).expect_err(&format!("cut to {length} bytes"));
        match error {
            TraceError::NotATrace => assert_eq!(length, 0),
            error => assert_eq!(error.position(), length, "{error:?}"),
        }
    }
}

#[test]
fn each_damage_has_its_own_error() {
    let bytes = written(inputs());
    let frames = read(&bytes).unwrap();
    let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        read(&bytes).unwrap_err()
    };
    // Damages a field of the second frame and mends the checksum, as a careful forger would.
    let forged = |at: usize, value: &[u8]| {
        let (start, end) = (frames[1].offset, frames[2].offset);
        damaged(&|bytes: &mut Vec<u8>| {
            bytes[start + at..start + at + value.len()].copy_from_slice(value);
            let checksum = crc32fast::hash(&bytes[start..end - CHECKSUM]);
            bytes[end - CHECKSUM..end].copy_from_slice(&checksum.to_le_bytes());
        })
    };
    assert_eq!(damaged(&|bytes| bytes[0] = b'X'), TraceError::NotATrace);
    assert_eq!(
        damaged(&|bytes| bytes[8] = 1),
        TraceError::UnsupportedVersion { found: 1, known: TRACE_VERSION }
    );
    assert!(matches!(damaged(&|bytes| bytes[13] = 0xff), TraceError::HeaderTooLong { position: 10, .. }));
    assert!(matches!(damaged(&|bytes| bytes[20] ^= 1), TraceError::BadHeaderChecksum { .. }));
    let start = frames[1].offset;
    assert!(matches!(
        damaged(&|bytes| bytes[start + 3] = 0xff),
        TraceError::FrameTooLong { position, sequence: 1, .. } if position == start
    ));
    assert!(matches!(
        damaged(&|bytes| bytes[start + FRAME_START] ^= 1),
        TraceError::BadChecksum { start: found, sequence: 1, .. } if found == start
    ));
    assert_eq!(forged(4, &[9]), TraceError::SequenceGap { position: start + 4, expected: 1, found: 9 });
    assert_eq!(forged(12, &[77]), TraceError::UnknownKind { position: start + 12, sequence: 1, kind: 77 });
    assert!(matches!(forged(FRAME_START, &[99]), TraceError::BadPayload { sequence: 1, .. }));
    assert_eq!(
        damaged(&|bytes| bytes.extend_from_slice(b"xyz")),
        TraceError::TrailingBytes { position: bytes.len(), count: 3 }
    );
    let end = bytes.len() - (FRAME_START + END_PAYLOAD + CHECKSUM);
    assert_eq!(
        damaged(&|bytes| bytes.truncate(end)),
        TraceError::MissingEnd { position: end, records: frames.len() as u64 }
    );
    // A forger who mends a checksum is found by the hash at the end.
    let last = frames.last().unwrap().offset;
    let error = damaged(&|bytes| {
        bytes[last + FRAME_START + 1] ^= 1;
        let checksum = crc32fast::hash(&bytes[last..end - CHECKSUM]);
        bytes[end - CHECKSUM..end].copy_from_slice(&checksum.to_le_bytes());
    });
    assert!(matches!(error, TraceError::BadEnd { .. } | TraceError::BadPayload { .. }), "{error:?}");
}

#[test]
fn a_frame_that_is_removed_is_found() {
    let bytes = written(inputs());
    let frames = read(&bytes).unwrap();
    let mut shorter = bytes[..frames[2].offset].to_vec();
    shorter.extend_from_slice(&bytes[frames[3].offset..]);
    assert!(matches!(read(&shorter), Err(TraceError::SequenceGap { expected: 2, found: 3, .. })));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read(&bytes).is_err());
        let mut started = MAGIC.to_vec();
        started.extend_from_slice(&TRACE_VERSION.to_le_bytes());
        started.extend_from_slice(&bytes);
        prop_assert!(read(&started).is_err());
    }

    #[test]
    fn arbitrary_payloads_with_right_checksums_never_panic(
        payloads in proptest::collection::vec((1u8..4, proptest::collection::vec(any::<u8>(), 0..60)), 0..6)
    ) {
        let mut bytes = TraceWriter::new(Vec::new(), &header()).unwrap().finish().unwrap();
        bytes.truncate(bytes.len() - (FRAME_START + END_PAYLOAD + CHECKSUM));
        for (sequence, (kind, payload)) in payloads.iter().enumerate() {
            let start = bytes.len();
            bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&(sequence as u64).to_le_bytes());
            bytes.push(*kind);
            bytes.extend_from_slice(payload);
            let checksum = crc32fast::hash(&bytes[start..]);
            bytes.extend_from_slice(&checksum.to_le_bytes());
        }
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn completions_of_any_content_survive(payload in proptest::collection::vec(any::<u8>(), 0..200), id in any::<u64>()) {
        let record = Record::Input(Input::Completion { request: RequestId(id), result: Ok(payload) });
        let mut writer = TraceWriter::new(Vec::new(), &header()).unwrap();
        writer.append(&record).unwrap();
        let bytes = writer.finish().unwrap();
        let frames = read(&bytes).unwrap();
        prop_assert_eq!(&frames[0].record, &record);
    }
}
