//! Values by handle.

use alloc::vec::Vec;

/// Values that a host names by numbers. Zero names nothing; a handle that was freed names nothing until its place has been
/// used again 65,535 times.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    /// Places whose value was removed.
    free: Vec<u16>,
}

#[derive(Debug)]
struct Place<T> {
    /// How often the place was used before: the upper half of a handle.
    generation: u16,
    value: Option<T>,
}

impl<T> Slab<T> {
    /// Values at a time; the lower half of a handle is a place's number plus one.
    pub const MAXIMUM: usize = u16::MAX as usize;

    /// An empty one.
    pub const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    /// Keeps a value and answers its handle, or zero where there is no place.
    pub fn insert(&mut self, value: T) -> u32 {
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.places.len() < Self::MAXIMUM => {
                self.places.push(Place { generation: 0, value: None });
                (self.places.len() - 1) as u16
            }
            None => return 0,
        };
        let place = &mut self.places[usize::from(number)];
        place.value = Some(value);
        u32::from(place.generation) << 16 | (u32::from(number) + 1)
    }

    /// The value of a handle.
    pub fn get(&mut self, handle: u32) -> Option<&mut T> {
        self.place(handle)?.value.as_mut()
    }

    /// Removes the value of a handle.
    pub fn remove(&mut self, handle: u32) -> Option<T> {
        let place = self.place(handle)?;
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push((handle & 0xffff) as u16 - 1);
        Some(value)
    }

    fn place(&mut self, handle: u32) -> Option<&mut Place<T>> {
        let number = (handle & 0xffff).checked_sub(1)? as usize;
        self.places.get_mut(number).filter(|place| u32::from(place.generation) == handle >> 16)
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_names_its_value_and_nothing_else() {
        let mut slab = Slab::new();
        let (first, second) = (slab.insert("first"), slab.insert("second"));
        assert_eq!(slab.get(first), Some(&mut "first"));
        assert_eq!(slab.get(second), Some(&mut "second"));
        for nothing in [0, 3, u32::MAX, first | 1 << 16] {
            assert_eq!(slab.get(nothing), None);
        }
        assert_eq!(slab.remove(first), Some("first"));
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(first), None);
        let third = slab.insert("third");
        assert!(third != first && slab.get(first).is_none());
        assert_eq!(slab.remove(third), Some("third"));
    }

    #[test]
    fn a_full_slab_refuses() {
        let mut slab = Slab::new();
        let handles: Vec<_> = (0..Slab::<usize>::MAXIMUM).map(|number| slab.insert(number)).collect();
        assert!(handles.iter().all(|handle| *handle != 0));
        assert_eq!(slab.insert(0), 0);
        assert_eq!(slab.remove(handles[70]), Some(70));
        assert_ne!(slab.insert(1), 0);
    }
}
