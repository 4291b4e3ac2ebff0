//! Finds the tokens that a text begins with.

/// No token ends at a node.
const NONE: u32 = u32::MAX;

/// Byte strings, each with a token. Children of a node lie next to each other, ascending by byte.
#[derive(Debug, Clone)]
pub(super) struct Trie {
    /// The byte that leads to each node; the root is node 0.
    bytes: Vec<u8>,
    /// The token whose bytes lead to each node.
    tokens: Vec<u32>,
    /// The first child of each node; one more entry than there are nodes.
    children: Vec<u32>,
}

impl Trie {
    /// A trie of these strings, which must differ. Takes time and memory in the sum of their lengths.
    pub(super) fn new<'t>(strings: impl Iterator<Item = (&'t [u8], u32)>) -> Self {
        let mut sorted: Vec<(&[u8], u32)> = strings.collect();
        sorted.sort_unstable();
        let mut trie = Self { bytes: vec![0], tokens: Vec::new(), children: Vec::new() };
        // What lies below each node, in the order of the nodes: a range of `sorted`, and how many bytes lead there.
        let mut below = std::collections::VecDeque::from([(0, sorted.len(), 0)]);
        while let Some((mut first, last, depth)) = below.pop_front() {
            let ends_here = first < last && sorted[first].0.len() == depth;
            trie.tokens.push(if ends_here { sorted[first].1 } else { NONE });
            trie.children.push(trie.bytes.len() as u32);
            first += usize::from(ends_here);
            while first < last {
                let byte = sorted[first].0[depth];
                let same = sorted[first..last].partition_point(|(string, _)| string[depth] == byte);
                trie.bytes.push(byte);
                below.push_back((first, first + same, depth + 1));
                first += same;
            }
        }
        trie.children.push(trie.bytes.len() as u32);
        trie
    }

    /// The tokens that `text` begins with and their lengths in bytes, the shortest first.
    pub(super) fn prefixes<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (usize, u32)> + 'a {
        let mut node = Some(0);
        text.iter()
            .enumerate()
            .map_while(move |(index, &byte)| {
                node = node.and_then(|node| self.child(node, byte));
                node.map(|node| (index + 1, self.tokens[node]))
            })
            .filter(|&(_, token)| token != NONE)
    }

    /// How many bytes of `text` lead to some node.
    pub(super) fn depth(&self, text: &[u8]) -> usize {
        let mut node = 0;
        text.iter()
            .take_while(|&&byte| match self.child(node, byte) {
                Some(child) => {
                    node = child;
                    true
                }
                None => false,
            })
            .count()
    }

    fn child(&self, node: usize, byte: u8) -> Option<usize> {
        let first = self.children[node] as usize;
        let children = &self.bytes[first..self.children[node + 1] as usize];
        children.binary_search(&byte).ok().map(|index| first + index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_found_the_shortest_first() {
        let strings = ["b", "ab", "abcd", "a", "é"];
        let trie = Trie::new(strings.iter().zip(0..).map(|(text, token)| (text.as_bytes(), token)));
        let prefixes = |text: &str| trie.prefixes(text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(prefixes("abcde"), [(1, 3), (2, 1), (4, 2)]);
        assert_eq!(prefixes("ba"), [(1, 0)]);
        assert_eq!(prefixes("éa"), [(2, 4)]);
        assert_eq!(prefixes("x"), []);
        assert_eq!(prefixes(""), []);
        assert_eq!(trie.depth(b"abcx"), 3);
        assert_eq!(trie.depth("è".as_bytes()), 1);
        assert_eq!(Trie::new(std::iter::empty()).depth(b"a"), 0);
    }
}
