//! The queue of a process: what is due, input and timers, in order of time, until the guest takes it.

use alloc::{
    boxed::Box,
    collections::VecDeque,
    string::{String, ToString},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use crate::{
    Action, Context, ContextLimits, DeviceEvent, GAMEPADS, INPUT_STATE_BYTES, Input, InputError, InputPacket,
    InputState, Key, Point, PointerButton, event::Noted,
};

/// Bytes of a record as a guest reads it.
pub const RECORD_BYTES: usize = 32;

/// Bytes of text in one record.
const TEXT_BYTES: usize = 16;

/// What waits for its time, and what the guest has not taken yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Queue {
    /// By ascending time, then number.
    timers: Vec<Timer>,
    /// By ascending time, then as they were sent. No drags: they are taken apart when they are sent.
    pending: VecDeque<InputPacket>,
    /// The weights of all that is pending.
    pending_weight: u64,
    ready: VecDeque<Record>,
    pub(crate) state: InputState,
    dropped: u64,
}

/// A timer that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Timer {
    time: u64,
    id: u32,
    /// 0 for one that is due once.
    interval: u64,
}

/// What has arrived and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    time: u64,
    arrival: Arrival,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Arrival {
    Key {
        key: Key,
        action: u8,
    },
    /// At most [`TEXT_BYTES`].
    Text {
        text: Box<str>,
    },
    PointerMove {
        to: Point,
    },
    PointerButton {
        button: u8,
        action: u8,
        at: Point,
    },
    PointerWheel {
        by: Point,
    },
    GamepadButton {
        gamepad: u8,
        button: u8,
        action: u8,
    },
    GamepadAxis {
        gamepad: u8,
        axis: u8,
        value: i16,
    },
    Timer {
        id: u32,
        expirations: u64,
    },
}

/// The action of a key that is pressed while it is pressed.
const REPEAT: u8 = 2;

impl Context {
    /// Moves what is due into the guest's queue.
    #[inline]
    pub(crate) fn deliver(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.deliver(self.clock.now, &self.limits, &mut self.output.noted);
        }
    }

    /// Timers and packets that will have become due by this time.
    pub(crate) fn due(&self, time: u64) -> u64 {
        self.queue.as_ref().map_or(0, |queue| queue.due(time))
    }
}

impl Queue {
    /// What a saved queue cannot be, if it is that.
    pub(crate) fn fault(&self, now: u64, limits: &ContextLimits) -> Option<String> {
        let weight = self.pending.iter().map(|packet| packet.input.weight()).sum::<u64>();
        let fault = if self.timers.len() as u64 > u64::from(limits.timers) {
            "more timers than its limits allow"
        } else if !self.timers.is_sorted_by_key(|timer| (timer.time, timer.id)) || self.doubled_timer() {
            "timers out of order"
        } else if weight != self.pending_weight || weight > u64::from(limits.input_pending) {
            "more waiting input than its limits allow"
        } else if !self.pending.iter().is_sorted_by_key(|packet| packet.time) {
            "input out of order"
        } else if self.next_due().is_some_and(|due| due <= now) {
            "something due that has not arrived"
        } else if self.ready.len() as u64 > u64::from(limits.input_queue) {
            "more arrived records than its limits allow"
        } else if !self.ready.iter().is_sorted_by_key(|record| record.time)
            || self.ready.back().is_some_and(|last| last.time > now)
        {
            "records out of order"
        } else if !self.ready.iter().all(|record| record.arrival.is_possible()) {
            "a record that cannot arrive"
        } else if let Err(error) = self.state.check() {
            return Some(error.to_string());
        } else {
            return self.pending.iter().find_map(|packet| match &packet.input {
                Input::PointerDrag { .. } => Some("a drag that was not taken apart".into()),
                input => input.check(limits).err().map(|error| error.to_string()),
            });
        };
        Some(fault.into())
    }

    fn doubled_timer(&self) -> bool {
        let mut ids: Vec<u32> = self.timers.iter().map(|timer| timer.id).collect();
        ids.sort_unstable();
        !ids.is_sorted_by(|a, b| a < b)
    }

    /// When the next thing is due.
    pub(crate) fn next_due(&self) -> Option<u64> {
        let timer = self.timers.first().map(|timer| timer.time);
        let input = self.pending.front().map(|packet| packet.time);
        match (timer, input) {
            (Some(timer), Some(input)) => Some(timer.min(input)),
            (timer, input) => timer.or(input),
        }
    }

    fn due(&self, time: u64) -> u64 {
        let timers = self.timers.partition_point(|timer| timer.time <= time);
        let packets = self.pending.partition_point(|packet| packet.time <= time);
        (timers + packets) as u64
    }

    /// Sets a timer, in the place of one with its number; false when there are as many as may be.
    pub(crate) fn set_timer(&mut self, id: u32, time: u64, interval: u64, limit: u32) -> bool {
        self.cancel_timer(id);
        if self.timers.len() as u64 >= u64::from(limit) {
            return false;
        }
        self.insert_timer(Timer { time, id, interval });
        true
    }

    fn insert_timer(&mut self, timer: Timer) {
        let place = self.timers.partition_point(|other| (other.time, other.id) < (timer.time, timer.id));
        self.timers.insert(place, timer);
    }

    /// Removes a timer; whether there was one.
    pub(crate) fn cancel_timer(&mut self, id: u32) -> bool {
        let place = self.timers.iter().position(|timer| timer.id == id);
        if let Some(place) = place {
            self.timers.remove(place);
        }
        place.is_some()
    }

    /// Lets checked input wait for its time.
    pub(crate) fn send(&mut self, packet: InputPacket, now: u64, limit: u32) -> Result<(), InputError> {
        let weight = self.pending_weight.saturating_add(packet.input.weight());
        if weight > u64::from(limit) {
            return Err(InputError::Full { limit });
        }
        self.pending_weight = weight;
        let time = packet.time.max(now);
        match packet.input {
            Input::PointerDrag { button, path, duration } => self.send_drag(time, button, &path, duration),
            input => self.insert_packet(InputPacket { time, input }),
        }
        Ok(())
    }

    fn send_drag(&mut self, start: u64, button: PointerButton, path: &[Point], duration: u64) {
        let gaps = (path.len() as u128).saturating_sub(1).max(1);
        let mut time = start;
        for (index, point) in path.iter().enumerate() {
            let passed = u128::from(duration) * index as u128 / gaps;
            time = start.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
            self.insert_packet(InputPacket { time, input: Input::PointerMove { to: *point } });
            if index == 0 {
                let input = Input::PointerButton { button, action: Action::Press };
                self.insert_packet(InputPacket { time, input });
            }
        }
        self.insert_packet(InputPacket {
            time,
            input: Input::PointerButton { button, action: Action::Release },
        });
    }

    fn insert_packet(&mut self, packet: InputPacket) {
        let place = self.pending.partition_point(|other| other.time <= packet.time);
        self.pending.insert(place, packet);
    }

    /// Moves what is due by `now` to what the guest can take.
    fn deliver(&mut self, now: u64, limits: &ContextLimits, noted: &mut Noted) {
        while let Some(time) = self.next_due().filter(|time| *time <= now) {
            let mut arrivals = Arrivals { queue: self, time, limits, noted };
            match arrivals.queue.pending.pop_front_if(|packet| packet.time == time) {
                Some(packet) => {
                    arrivals.queue.pending_weight -= packet.input.weight();
                    arrivals.input(packet.input);
                }
                None => arrivals.timer(now),
            }
        }
    }

    /// Records that the guest can take.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Takes the oldest record.
    pub(crate) fn take(&mut self) -> Option<[u8; RECORD_BYTES]> {
        self.ready.pop_front().map(|record| record.encode())
    }

    /// The state as a guest reads it.
    pub(crate) fn state_bytes(&self) -> [u8; INPUT_STATE_BYTES] {
        const GAMEPAD_BYTES: usize = 20;
        let InputState { keys, pointer, pointer_buttons, gamepads } = &self.state;
        let mut bytes = [0; INPUT_STATE_BYTES];
        bytes[..32].copy_from_slice(keys.bytes());
        bytes[32..36].copy_from_slice(&pointer.x.to_le_bytes());
        bytes[36..40].copy_from_slice(&pointer.y.to_le_bytes());
        bytes[40..44].copy_from_slice(&pointer_buttons.to_le_bytes());
        let dropped = u32::try_from(self.dropped).unwrap_or(u32::MAX);
        bytes[44..48].copy_from_slice(&dropped.to_le_bytes());
        for (bytes, gamepad) in bytes[48..].chunks_exact_mut(GAMEPAD_BYTES).zip(gamepads) {
            bytes[..4].copy_from_slice(&gamepad.buttons.to_le_bytes());
            for (bytes, axis) in bytes[4..].chunks_exact_mut(2).zip(gamepad.axes) {
                bytes.copy_from_slice(&axis.to_le_bytes());
            }
        }
        bytes
    }
}

/// What arrives at one time.
struct Arrivals<'a> {
    queue: &'a mut Queue,
    time: u64,
    limits: &'a ContextLimits,
    noted: &'a mut Noted,
}

impl Arrivals<'_> {
    /// The first timer is due.
    fn timer(&mut self, now: u64) {
        if self.queue.timers.is_empty() {
            return;
        }
        let Timer { time, id, interval } = self.queue.timers.remove(0);
        // A timer that was due often while nobody looked arrives once, with its count.
        let expirations = (now - time).checked_div(interval).map_or(1, |further| further.saturating_add(1));
        let next = interval.checked_mul(expirations).and_then(|passed| time.checked_add(passed));
        if let Some(time) = next.filter(|_| interval > 0) {
            self.queue.insert_timer(Timer { time, id, interval });
        }
        self.noted.note(self.limits.device_events, DeviceEvent::TimerFired { id, time, expirations });
        if !self.push(Arrival::Timer { id, expirations }) {
            self.note_dropped();
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Key { key, action } => self.key(key, action),
            Input::Text { text } => {
                let mut rest = text.as_str();
                while !rest.is_empty() {
                    let (piece, further) = rest.split_at(rest.floor_char_boundary(TEXT_BYTES));
                    self.arrive(Arrival::Text { text: piece.into() });
                    rest = further;
                }
            }
            Input::PointerMove { to } => self.pointer_move(to),
            Input::PointerButton { button, action } => self.pointer_button(button as u8, action),
            Input::PointerWheel { x, y } => self.arrive(Arrival::PointerWheel { by: Point { x, y } }),
            Input::GamepadButton { gamepad, button, action } => self.gamepad_button(gamepad, button, action),
            Input::GamepadAxis { gamepad, axis, value } => self.gamepad_axis(gamepad, axis, value),
            Input::State(state) => self.state(&state),
            // Taken apart when it was sent.
            Input::PointerDrag { .. } => {}
        }
    }

    fn key(&mut self, key: Key, action: Action) {
        let keys = &mut self.queue.state.keys;
        let repeated = keys.contains(key) && action == Action::Press;
        keys.set(key, action == Action::Press);
        self.arrive(Arrival::Key { key, action: if repeated { REPEAT } else { action as u8 } });
    }

    fn pointer_move(&mut self, to: Point) {
        self.queue.state.pointer = to;
        self.arrive(Arrival::PointerMove { to });
    }

    fn pointer_button(&mut self, button: u8, action: Action) {
        set_bit(&mut self.queue.state.pointer_buttons, button, action);
        let at = self.queue.state.pointer;
        self.arrive(Arrival::PointerButton { button, action: action as u8, at });
    }

    fn gamepad_button(&mut self, gamepad: u8, button: u8, action: Action) {
        if let Some(state) = self.queue.state.gamepads.get_mut(usize::from(gamepad)) {
            set_bit(&mut state.buttons, button, action);
            self.arrive(Arrival::GamepadButton { gamepad, button, action: action as u8 });
        }
    }

    fn gamepad_axis(&mut self, gamepad: u8, axis: u8, value: i16) {
        let state = self.queue.state.gamepads.get_mut(usize::from(gamepad));
        if let Some(place) = state.and_then(|state| state.axes.get_mut(usize::from(axis))) {
            *place = value;
            self.arrive(Arrival::GamepadAxis { gamepad, axis, value });
        }
    }

    /// Whatever differs from the state arrives.
    fn state(&mut self, new: &InputState) {
        let old = self.queue.state;
        for usage in 0..=u8::MAX {
            if let Some(key) = Key::from_usage(usage)
                && old.keys.contains(key) != new.keys.contains(key)
            {
                self.key(key, action(new.keys.contains(key)));
            }
        }
        if old.pointer != new.pointer {
            self.pointer_move(new.pointer);
        }
        for button in changed_bits(old.pointer_buttons, new.pointer_buttons) {
            self.pointer_button(button, action(new.pointer_buttons >> button & 1 == 1));
        }
        for gamepad in 0..GAMEPADS {
            let (old, new) = (old.gamepads[gamepad], new.gamepads[gamepad]);
            let number = gamepad as u8;
            for button in changed_bits(old.buttons, new.buttons) {
                self.gamepad_button(number, button, action(new.buttons >> button & 1 == 1));
            }
            for (axis, (old, new)) in (0..).zip(old.axes.into_iter().zip(new.axes)) {
                if old != new {
                    self.gamepad_axis(number, axis, new);
                }
            }
        }
    }

    /// Input arrives, or is lost.
    fn arrive(&mut self, arrival: Arrival) {
        if self.push(arrival) {
            self.noted.note(self.limits.device_events, DeviceEvent::InputDelivered { records: 1 });
        } else {
            self.note_dropped();
        }
    }

    fn push(&mut self, arrival: Arrival) -> bool {
        if self.queue.ready.len() as u64 >= u64::from(self.limits.input_queue) {
            return false;
        }
        self.queue.ready.push_back(Record { time: self.time, arrival });
        true
    }

    fn note_dropped(&mut self) {
        self.queue.dropped = self.queue.dropped.saturating_add(1);
        self.noted.note(self.limits.device_events, DeviceEvent::InputDropped { records: 1 });
    }
}

fn action(pressed: bool) -> Action {
    if pressed { Action::Press } else { Action::Release }
}

fn set_bit(bits: &mut u32, bit: u8, action: Action) {
    let bit = 1_u32.checked_shl(bit.into()).unwrap_or(0);
    match action {
        Action::Press => *bits |= bit,
        Action::Release => *bits &= !bit,
    }
}

fn changed_bits(old: u32, new: u32) -> impl Iterator<Item = u8> {
    (0..32).filter(move |bit| (old ^ new) >> bit & 1 == 1)
}

impl Arrival {
    /// Whether this is one that a process can come to: what is read from outside is not believed.
    fn is_possible(&self) -> bool {
        // A check against limits that only concern what waits.
        let checked = |input: Input| input.check(&ContextLimits::default()).is_ok();
        match self {
            Self::Key { key, action } => {
                *action <= REPEAT && checked(Input::Key { key: *key, action: Action::Press })
            }
            Self::Text { text } => !text.is_empty() && text.len() <= TEXT_BYTES,
            Self::PointerButton { button, action, .. } => {
                usize::from(*button) < PointerButton::ALL.len() && *action < REPEAT
            }
            Self::GamepadButton { gamepad, button, action } => {
                let [gamepad, button] = [*gamepad, *button];
                *action < REPEAT && checked(Input::GamepadButton { gamepad, button, action: Action::Press })
            }
            Self::GamepadAxis { gamepad, axis, value } => {
                checked(Input::GamepadAxis { gamepad: *gamepad, axis: *axis, value: *value })
            }
            Self::Timer { expirations, .. } => *expirations > 0,
            Self::PointerMove { .. } | Self::PointerWheel { .. } => true,
        }
    }
}

impl Record {
    /// The record as a guest reads it.
    fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut data = [0; 16];
        let mut put = |start: usize, bytes: &[u8]| data[start..start + bytes.len()].copy_from_slice(bytes);
        let mut put_point = |point: &Point| {
            put(0, &point.x.to_le_bytes());
            put(4, &point.y.to_le_bytes());
        };
        let (kind, action, gamepad, code) = match &self.arrival {
            Arrival::Key { key, action } => (1, *action, 0, key.usage().into()),
            Arrival::Text { text } => {
                put(0, text.as_bytes());
                (2, 0, 0, text.len() as u32)
            }
            Arrival::PointerMove { to } => {
                put_point(to);
                (3, 0, 0, 0)
            }
            Arrival::PointerButton { button, action, at } => {
                put_point(at);
                (4, *action, 0, u32::from(*button))
            }
            Arrival::PointerWheel { by } => {
                put_point(by);
                (5, 0, 0, 0)
            }
            Arrival::GamepadButton { gamepad, button, action } => (6, *action, *gamepad, u32::from(*button)),
            Arrival::GamepadAxis { gamepad, axis, value } => {
                put(0, &i32::from(*value).to_le_bytes());
                (7, 0, *gamepad, u32::from(*axis))
            }
            Arrival::Timer { id, expirations } => {
                put(0, &expirations.to_le_bytes());
                (8, 0, 0, *id)
            }
        };
        let mut bytes = [0; RECORD_BYTES];
        bytes[..8].copy_from_slice(&self.time.to_le_bytes());
        bytes[8] = kind;
        bytes[10] = action;
        bytes[11] = gamepad;
        bytes[12..16].copy_from_slice(&code.to_le_bytes());
        bytes[16..].copy_from_slice(&data);
        bytes
    }
}
