//! Images against memories that are plain bytes.

use proptest::prelude::*;

use super::*;

fn bytes_of(image: &MemoryImage) -> Vec<u8> {
    let mut memory = vec![0; image.bytes()];
    image.copy_into(&mut memory).unwrap();
    memory
}

fn all_keepings() -> [Keeping; 2] {
    [Keeping::Copied, Keeping::for_this_host(true)]
}

#[test]
fn segments_are_laid_over_each_other_in_their_order() {
    for keeping in all_keepings() {
        let segments: [(usize, &[u8]); 5] =
            [(10, b"abcdef"), (12, b"XY"), (700_000, b"far"), (8191, b"edge"), (5, b"")];
        let image = MemoryImage::of_data(16 * 65_536, &segments, keeping).unwrap();
        let memory = bytes_of(&image);
        assert_eq!(memory.len(), 16 * 65_536);
        assert_eq!(&memory[9..17], b"\0abXYef\0");
        assert_eq!(&memory[8191..8195], b"edge");
        assert_eq!(&memory[700_000..700_003], b"far");
        assert_eq!(memory.iter().filter(|byte| **byte != 0).count(), 6 + 4 + 3);
        assert_eq!(image.pieces().len(), 2);
    }
}

#[test]
fn data_in_very_many_places_is_one_piece() {
    for keeping in all_keepings() {
        let places: Vec<usize> = (0..200).map(|place| place * 3 * JOINED_DATA_BYTES).collect();
        let segments: Vec<(usize, &[u8])> = places.iter().map(|place| (*place, b"x".as_slice())).collect();
        let image = MemoryImage::of_data(1 << 26, &segments, keeping).unwrap();
        assert_eq!(image.pieces().len(), 1);
        let memory = bytes_of(&image);
        assert!(places.iter().all(|place| memory[*place] == b'x'));
        assert_eq!(memory.iter().filter(|byte| **byte != 0).count(), places.len());
    }
}

#[test]
fn a_difference_takes_only_what_was_written_from_the_memory() {
    for keeping in all_keepings() {
        let base: Vec<u8> = (0..256 * PAGE_BYTES).map(|byte| (byte / PAGE_BYTES) as u8 | 1).collect();
        let image = MemoryImage::of_data(base.len(), &[(0, &base)], keeping).unwrap();
        let mut memory = base.clone();
        memory[40 * PAGE_BYTES + 7] = 99;
        memory[200 * PAGE_BYTES..202 * PAGE_BYTES].fill(0);
        let mut written = vec![false; 256];
        for page in [40, 200, 201] {
            written[page] = true;
        }
        let difference = image.difference(&memory, &written, keeping).unwrap();
        assert_eq!(bytes_of(&difference), memory);
        assert_eq!(bytes_of(&image), base);
        assert_eq!(difference.sources().len(), 2);
        let new: usize = difference
            .pieces()
            .iter()
            .filter(|piece| !Arc::ptr_eq(&piece.source, &image.pieces()[0].source))
            .map(|piece| piece.length)
            .sum();
        assert_eq!(new, PAGE_BYTES);
    }
}

#[test]
fn pages_written_everywhere_make_one_piece_again() {
    for keeping in all_keepings() {
        let base = vec![1; 1024 * PAGE_BYTES];
        let image = MemoryImage::of_data(base.len(), &[(0, &base)], keeping).unwrap();
        let mut memory = base;
        let mut written = vec![false; 1024];
        for page in (4..1024).step_by(6) {
            memory[page * PAGE_BYTES] = 2;
            written[page] = true;
        }
        let difference = image.difference(&memory, &written, keeping).unwrap();
        assert_eq!(difference.pieces().len(), 1);
        assert_eq!(bytes_of(&difference), memory);
    }
}

#[test]
fn an_image_of_many_pieces_that_is_used_often_becomes_one_piece() {
    let keeping = Keeping::for_this_host(true);
    let base = vec![1; 256 * PAGE_BYTES];
    let image = MemoryImage::of_data(base.len(), &[(0, &base)], keeping).unwrap();
    let mut memory = base;
    let mut written = vec![false; 256];
    for page in (8..256).step_by(8) {
        memory[page * PAGE_BYTES] = 2;
        written[page] = true;
    }
    memory[128 * PAGE_BYTES..][..PAGE_BYTES].fill(0);
    let scattered = image.difference(&memory, &written, keeping).unwrap();
    assert!(scattered.pieces().len() > PIECES_FEW);
    for _ in 0..MANY_USES {
        assert!(scattered.for_use(keeping).is(&scattered));
    }
    for _ in 0..3 {
        let flat = scattered.for_use(keeping);
        assert_eq!(flat.pieces().len(), 1);
        assert_eq!(bytes_of(flat), memory);
    }
    assert!((0..20).all(|_| image.for_use(keeping).is(&image)));
}

#[test]
fn a_source_of_zeros_alone_is_none() {
    for keeping in all_keepings() {
        let image = MemoryImage::of_data(8 * PAGE_BYTES, &[(0, &[5; 3 * PAGE_BYTES])], keeping).unwrap();
        let difference = image.difference(&[0; 8 * PAGE_BYTES], &[true; 8], keeping).unwrap();
        assert!(difference.pieces().is_empty());
        assert_eq!(bytes_of(&difference), [0; 8 * PAGE_BYTES]);
    }
}

proptest! {
    #[test]
    fn differences_of_differences_are_what_the_memory_was(
        rounds in prop::collection::vec(prop::collection::vec((0_usize..64, any::<u8>()), 1..40), 1..12)
    ) {
        for keeping in all_keepings() {
            let mut memory = vec![0_u8; 64 * PAGE_BYTES];
            memory[..20 * PAGE_BYTES].fill(3);
            let mut image = MemoryImage::of_data(memory.len(), &[(0, &memory[..20 * PAGE_BYTES])], keeping).unwrap();
            for round in &rounds {
                let mut written = vec![false; 64];
                for (page, byte) in round {
                    memory[page * PAGE_BYTES..(page + 1) * PAGE_BYTES].fill(*byte);
                    written[*page] = true;
                }
                let compared = image.changed_pages(&memory).unwrap();
                prop_assert!(compared.iter().zip(&written).all(|(compared, written)| *written || !compared));
                let next = image.difference(&memory, &written, keeping).unwrap();
                prop_assert_eq!(bytes_of(&next), memory.clone());
                prop_assert_eq!(bytes_of(&image.difference(&memory, &compared, keeping).unwrap()), memory.clone());
                prop_assert!(next.sources().len() <= 7, "{} sources", next.sources().len());
                image = next;
            }
        }
    }
}
