use super::*;

/// A subscription to a clock.
fn clock(id: u32, timeout: u64, absolute: bool) -> [u8; 48] {
    let mut record = [0; 48];
    record[0] = b'c';
    record[16..20].copy_from_slice(&id.to_le_bytes());
    record[24..32].copy_from_slice(&timeout.to_le_bytes());
    record[40] = absolute.into();
    record
}

/// A subscription to a descriptor that is read (1) or written (2).
fn descriptor(kind: u8, fd: u32) -> [u8; 48] {
    let mut record = [0; 48];
    record[0] = b'd';
    record[8] = kind;
    record[16..20].copy_from_slice(&fd.to_le_bytes());
    record
}

/// User data, error, type, bytes and flags of an event.
type Event = (u8, u64, u8, u64, u8);

fn poll(program: &mut Program, subscriptions: &[[u8; 48]]) -> Answer<Vec<Event>> {
    let count = subscriptions.len() as u64;
    program.put(OTHER, &subscriptions.concat());
    program.call("poll_oneoff", &[OTHER, DATA, count, RESULT])?;
    let events = program.bytes(DATA, 32 * program.u32(RESULT));
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Ok(events
        .chunks(32)
        .map(|event| (event[0], number(&event[8..10]), event[10], number(&event[16..24]), event[24]))
        .collect())
}

#[test]
fn sleeping_and_reading_the_clock_move_it_and_nothing_else_does() {
    let mut program = Program::new();
    let began = program.context.clock_now();
    let events = poll(&mut program, &[clock(1, 2_000, false), clock(1, 1_500, false)]).unwrap();
    assert_eq!(events, [(b'c', 0, 0, 0, 0)]);
    assert_eq!(program.context.clock_now(), began + 1_500);
    let until = program.context.clock_now() + 10;
    assert_eq!(poll(&mut program, &[clock(1, until, true)]).unwrap().len(), 1);
    assert_eq!(program.context.clock_now(), until);
    // A time that is over.
    assert_eq!(poll(&mut program, &[clock(1, 5, true)]).unwrap().len(), 1);
    assert_eq!(program.context.clock_now(), until);
    program.call("clock_time_get", &[1, 0, RESULT]).unwrap();
    assert_eq!(program.u64(RESULT), until);
    program.call("clock_time_get", &[2, 0, RESULT]).unwrap();
    // Reading it took a microsecond.
    assert_eq!(program.u64(RESULT), until - began + 1_000);
    assert_eq!(program.call("clock_time_get", &[9, 0, RESULT]), Err(errno(Errno::Invalid)));
}

#[test]
fn descriptors_say_what_can_be_read_and_no_time_passes() {
    let mut program = Program::new();
    let began = program.context.clock_now();
    program.context.push_stdin(b"four").unwrap();
    let file = program.open("file", CREATE).unwrap();
    program.write(file, b"12345").unwrap();
    program.seek(file, 3, 0).unwrap();
    let subscriptions = [
        clock(1, 99, false),
        descriptor(1, 0),
        descriptor(1, file as u32),
        descriptor(2, 1),
        descriptor(1, 50),
    ];
    let events = poll(&mut program, &subscriptions).unwrap();
    let bad = Errno::BadDescriptor as u64;
    assert_eq!(events, [(b'd', 0, 1, 4, 0), (b'd', 0, 1, 2, 0), (b'd', 0, 2, 0, 0), (b'd', bad, 1, 0, 0)]);
    assert_eq!(program.context.clock_now(), began);
    // At its end, input can be read without waiting: it says that it has ended.
    program.read(0, 10).unwrap();
    assert_eq!(poll(&mut program, &[descriptor(1, 0)]).unwrap(), [(b'd', 0, 1, 0, 1)]);
}

#[test]
fn what_cannot_be_waited_for_is_said() {
    let mut program = Program::new();
    assert_eq!(poll(&mut program, &[]), Err(errno(Errno::Invalid)));
    let mut unknown = clock(1, 1, false);
    unknown[8] = 7;
    assert_eq!(poll(&mut program, &[unknown]), Err(errno(Errno::Invalid)));
    let events = poll(&mut program, &[clock(2, 1, false), clock(9, 1, false)]).unwrap();
    let errors: Vec<u64> = events.iter().map(|event| event.1).collect();
    assert_eq!(errors, [Errno::NotSupported as u64, Errno::Invalid as u64]);
}
