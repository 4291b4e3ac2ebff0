//! The beginnings of sequences that were evaluated lately, so that others that begin alike need not evaluate them.
//!
//! A radix tree over token ids whose edges are pages: a node holds the page of the tokens that lead to it from its parent.
//! Only the last node of a path may have fewer tokens than a page has room for. A sequence that shares a part of a page
//! takes the page, and copies it when it writes behind that part. (As in SGLang's RadixAttention: Zheng et al., 2024.)
//!
//! **Invariants:** `bytes` is the sum of what the nodes cost; `leaves` are the nodes without children, by when they were used
//! last; a node was used no earlier than its children.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::page::Page;
use super::{KvCache, PAGE_TOKENS};

/// What a node costs beyond its page: its tokens, twice, and its places in two trees. An estimate, so that many small pages
/// are not free.
const NODE_BYTES: usize = 2 * PAGE_TOKENS * size_of::<u32>() + 256;

/// Names a node.
type NodeId = u64;
/// The node of no tokens, which has no page.
const ROOT: NodeId = 0;

struct Node {
    parent: NodeId,
    /// From the parent to here.
    tokens: Vec<u32>,
    /// None: the root.
    page: Option<Arc<Page>>,
    children: BTreeMap<Vec<u32>, NodeId>,
    used: u64,
}

/// What a model's shared beginnings take, and what they were worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrefixStatistics {
    /// Memory that they may take.
    pub budget: usize,
    /// Memory that they take, in bytes; pages that living sequences hold as well are counted in full.
    pub bytes: usize,
    /// Pages kept.
    pub pages: usize,
    /// Tokens that need not have been evaluated, since the model was loaded.
    pub reused_tokens: u64,
}

/// The beginnings kept for one model.
pub(crate) struct PrefixTree {
    nodes: BTreeMap<NodeId, Node>,
    leaves: BTreeSet<(u64, NodeId)>,
    budget: usize,
    bytes: usize,
    /// Nodes made so far.
    made: u64,
    /// Uses so far.
    clock: u64,
    reused_tokens: u64,
}

/// A tree for all who have a clone of this.
#[derive(Clone)]
pub(crate) struct SharedPrefixes(Arc<Mutex<PrefixTree>>);

impl SharedPrefixes {
    /// An empty tree that may take so many bytes.
    pub fn new(budget: usize) -> Self {
        Self(Arc::new(Mutex::new(PrefixTree::new(budget))))
    }

    /// The tree, for nobody else meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, PrefixTree> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for SharedPrefixes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SharedPrefixes").field(&self.lock().statistics()).finish()
    }
}

/// How many tokens both begin with.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl PrefixTree {
    /// An empty tree that may take so many bytes.
    pub fn new(budget: usize) -> Self {
        let root =
            Node { parent: ROOT, tokens: Vec::new(), page: None, children: BTreeMap::new(), used: u64::MAX };
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            leaves: BTreeSet::new(),
            budget,
            bytes: 0,
            made: 0,
            clock: 0,
            reused_tokens: 0,
        }
    }

    pub fn statistics(&self) -> PrefixStatistics {
        let Self { budget, bytes, reused_tokens, .. } = *self;
        PrefixStatistics { budget, bytes, pages: self.nodes.len() - 1, reused_tokens }
    }

    /// Continues `cache`, which holds a beginning of `tokens`, as far as the tree knows them and it holds fewer.
    pub fn continue_cache(&mut self, tokens: &[u32], cache: &mut KvCache) {
        let (mut pages, mut length, mut node) = (Vec::new(), 0, ROOT);
        self.clock += 1;
        while length < tokens.len() {
            let rest = &tokens[length..(length + PAGE_TOKENS).min(tokens.len())];
            let Some((child, shared)) = self.nearest_child(node, rest) else { break };
            length += shared;
            node = child;
            self.touch(node);
            pages.extend(self.nodes[&node].page.clone());
            if shared < PAGE_TOKENS {
                break;
            }
        }
        if length > cache.len() {
            self.reused_tokens += (length - cache.len()) as u64;
            cache.continue_with(pages, length);
        }
    }

    /// The child of `node` that shares most with `rest`, and how many tokens.
    fn nearest_child(&self, node: NodeId, rest: &[u32]) -> Option<(NodeId, usize)> {
        let children = &self.nodes[&node].children;
        // In their order, those that share most with it are its neighbours.
        let before = children.range(..=rest.to_vec()).next_back();
        let behind = children.range(rest.to_vec()..).next();
        let shared = |(tokens, child): (&Vec<u32>, &NodeId)| (*child, common(tokens, rest));
        let nearest = before.into_iter().chain(behind).map(shared).max_by_key(|(_, shared)| *shared);
        nearest.filter(|(_, shared)| *shared > 0)
    }

    /// Keeps what `cache` holds of `tokens`, and drops what was used least lately until all fits the budget.
    pub fn insert(&mut self, tokens: &[u32], cache: &KvCache) {
        let mut node = ROOT;
        self.clock += 1;
        let tokens = &tokens[..tokens.len().min(cache.len())];
        for (tokens, page) in tokens.chunks(PAGE_TOKENS).zip(&cache.pages) {
            match self.nearest_child(node, tokens) {
                // All of them are known.
                Some((child, shared)) if shared == tokens.len() => node = child,
                _ => node = self.add(node, tokens, page),
            }
            self.touch(node);
        }
        while self.bytes > self.budget {
            let Some(&(_, oldest)) = self.leaves.first() else { break };
            self.remove(oldest);
        }
    }

    /// Adds a child, in place of those that have only a beginning of its tokens.
    fn add(&mut self, parent: NodeId, tokens: &[u32], page: &Arc<Page>) -> NodeId {
        for length in 1..tokens.len() {
            if let Some(&shorter) = self.nodes[&parent].children.get(&tokens[..length]) {
                self.remove(shorter);
            }
        }
        self.made += 1;
        let id = self.made;
        self.bytes += page.bytes() + NODE_BYTES;
        let node = Node {
            parent,
            tokens: tokens.to_vec(),
            page: Some(Arc::clone(page)),
            children: BTreeMap::new(),
            used: self.clock,
        };
        self.nodes.insert(id, node);
        self.leaves.insert((self.clock, id));
        if let Some(parent_node) = self.nodes.get_mut(&parent) {
            self.leaves.remove(&(parent_node.used, parent));
            parent_node.children.insert(tokens.to_vec(), id);
        }
        id
    }

    /// Removes a node without children.
    fn remove(&mut self, id: NodeId) {
        let Some(node) = self.nodes.remove(&id) else { return };
        self.leaves.remove(&(node.used, id));
        self.bytes -= node.page.map_or(0, |page| page.bytes()) + NODE_BYTES;
        if let Some(parent) = self.nodes.get_mut(&node.parent) {
            parent.children.remove(&node.tokens);
            if parent.children.is_empty() && node.parent != ROOT {
                self.leaves.insert((parent.used, node.parent));
            }
        }
    }

    /// Notes that a node is used now.
    fn touch(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let before = std::mem::replace(&mut node.used, self.clock);
        if self.leaves.remove(&(before, id)) {
            self.leaves.insert((self.clock, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Kernels;
    use crate::cache::{KvShape, KvType};

    const SHAPE: KvShape = KvShape { layers: 1, heads: 1, head_length: 2, kind: KvType::F16 };

    /// A cache whose keys and values are its tokens.
    fn cache(tokens: &[u32]) -> KvCache {
        let mut cache = KvCache::new(SHAPE, 1000);
        write(&mut cache, tokens);
        cache
    }

    /// Evaluates what the cache does not hold of `tokens`.
    fn write(cache: &mut KvCache, tokens: &[u32]) {
        let start = cache.len();
        cache.extend(tokens.len() - start);
        let numbers: Vec<f32> = tokens[start..].iter().flat_map(|token| [*token as f32; 2]).collect();
        cache.write(Kernels::detect(), 0, start, &numbers, &numbers);
    }

    /// The tokens that a cache was made of.
    fn held(cache: &KvCache) -> Vec<u32> {
        let mut held = Vec::new();
        for (page, within) in cache.pages(0..cache.len()) {
            for place in within {
                let mut value = [0.0; 2];
                page.add_values(Kernels::detect(), 0, 0, place..place + 1, &[1.0], 1, &mut value);
                held.push(value[0] as u32);
            }
        }
        held
    }

    fn continued(tree: &mut PrefixTree, tokens: &[u32]) -> usize {
        let mut cache = KvCache::new(SHAPE, 1000);
        tree.continue_cache(tokens, &mut cache);
        assert_eq!(held(&cache), tokens[..cache.len()]);
        cache.len()
    }

    /// Checks the invariants.
    fn check(tree: &PrefixTree) {
        let nodes = || tree.nodes.iter().filter(|(id, _)| **id != ROOT);
        let bytes: usize =
            nodes().map(|(_, node)| node.page.as_ref().map_or(0, |page| page.bytes()) + NODE_BYTES).sum();
        assert_eq!(tree.bytes, bytes);
        assert!(tree.bytes <= tree.budget);
        let leaves: BTreeSet<_> =
            nodes().filter(|(_, node)| node.children.is_empty()).map(|(id, node)| (node.used, *id)).collect();
        assert_eq!(tree.leaves, leaves);
        for (id, node) in nodes() {
            assert!(node.children.is_empty() || node.tokens.len() == PAGE_TOKENS);
            assert!(tree.nodes[&node.parent].used >= node.used);
            assert_eq!(tree.nodes[&node.parent].children.get(&node.tokens), Some(id));
        }
    }

    #[test]
    fn a_beginning_is_found_to_the_token_and_a_longer_one_takes_its_place() {
        let mut tree = PrefixTree::new(1 << 20);
        let tokens: Vec<u32> = (0..100).collect();
        tree.insert(&tokens[..40], &cache(&tokens[..40]));
        assert_eq!(continued(&mut tree, &tokens), 40);
        assert_eq!(tree.statistics().pages, 2);
        tree.insert(&tokens, &cache(&tokens));
        assert_eq!(tree.statistics().pages, 4);
        assert_eq!(continued(&mut tree, &tokens[..50]), 50);
        let other: Vec<u32> = (0..70).chain(500..530).collect();
        assert_eq!(continued(&mut tree, &other), 70);
        assert_eq!(continued(&mut tree, &[7, 8]), 0);
        assert_eq!(tree.statistics().reused_tokens, 40 + 50 + 70);
        check(&tree);
    }

    #[test]
    fn what_continues_a_shared_page_leaves_it_as_it_was() {
        let mut tree = PrefixTree::new(1 << 20);
        let tokens: Vec<u32> = (0..60).collect();
        let mut first = cache(&tokens);
        tree.insert(&tokens, &first);
        let longer: Vec<u32> = (0..90).collect();
        write(&mut first, &longer);
        let other: Vec<u32> = (0..45).chain(700..720).collect();
        let mut second = KvCache::new(SHAPE, 1000);
        tree.continue_cache(&other, &mut second);
        assert_eq!(second.len(), 45);
        write(&mut second, &other);
        assert_eq!((held(&first), held(&second)), (longer, other));
        assert_eq!(continued(&mut tree, &tokens), 60);
    }

    #[test]
    fn what_was_used_least_lately_is_dropped_first() {
        let page = SHAPE.page_bytes() + NODE_BYTES;
        let mut tree = PrefixTree::new(4 * page);
        let sequence = |first: u32| -> Vec<u32> { (first..first + 64).collect() };
        for first in [0, 1000] {
            tree.insert(&sequence(first), &cache(&sequence(first)));
        }
        assert_eq!(continued(&mut tree, &sequence(0)), 64);
        tree.insert(&sequence(2000)[..32], &cache(&sequence(2000)[..32]));
        check(&tree);
        assert_eq!(continued(&mut tree, &sequence(0)), 64);
        assert_eq!(continued(&mut tree, &sequence(1000)), 32);
        assert_eq!(continued(&mut tree, &sequence(2000)), 32);
    }

    proptest! {
        #[test]
        fn the_tree_keeps_within_its_budget_and_gives_only_what_was_put_in(
            budget in 0usize..12,
            uses in proptest::collection::vec(
                (any::<bool>(), proptest::collection::vec(0u32..2, 0..6), 0usize..40), 1..60),
        ) {
            let mut tree = PrefixTree::new(budget * (SHAPE.page_bytes() + NODE_BYTES));
            for (inserts, bits, extra) in uses {
                // Each bit decides on a run of tokens, so that many sequences share beginnings.
                let runs = bits.iter().flat_map(|bit| vec![*bit; 17]);
                let tokens: Vec<u32> = runs.chain(vec![7; extra]).collect();
                if inserts {
                    tree.insert(&tokens, &cache(&tokens));
                } else {
                    continued(&mut tree, &tokens);
                }
                check(&tree);
            }
        }
    }
}
