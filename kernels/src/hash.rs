//! The hashes of a receipt: one of 16 bytes for every leaf, a Merkle root over them along the block tree, and the
//! hash of the answer.

use crate::kernel::Partial;
use muster_spec::{Class, Grid, Node};
use serde::Serialize;

/// A hash of 16 bytes: enough to tell partials apart, small enough to keep a million of them.
pub type Hash16 = [u8; 16];

/// The first 16 bytes of a BLAKE3 hash.
pub fn first16(hash: &blake3::Hash) -> Hash16 {
    let mut out = [0; 16];
    out.copy_from_slice(&hash.as_bytes()[..16]);
    out
}

/// The hash of one leaf: which block, what it read (if anything), and its partial, where it has one of its own (all but
/// [`crate::Order::Running`]).
pub fn leaf<P: Partial>(block: u32, reads: Option<Hash16>, partial: Option<&P>) -> Hash16 {
    let mut hasher = blake3::Hasher::new_derive_key("muster leaf v1");
    hasher.update(&block.to_le_bytes());
    match reads {
        Some(hash) => hasher.update(&[1]).update(&hash),
        None => hasher.update(&[0]),
    };
    if let Some(partial) = partial {
        partial.digest(&mut hasher);
    }
    first16(&hasher.finalize())
}

/// The Merkle root over the leaves of `grid`, along the block tree.
///
/// # Panics
/// When there is not one leaf for each block.
pub fn merkle_root(grid: Grid, leaves: &[Hash16]) -> Hash16 {
    assert_eq!(leaves.len(), grid.blocks() as usize, "one leaf hash for each block");
    fn go(grid: Grid, leaves: &[Hash16], node: Node) -> Hash16 {
        match node.children() {
            None => leaves[node.index as usize],
            Some((left, right)) if right.exists(grid) => {
                let mut hasher = blake3::Hasher::new_derive_key("muster node v1");
                hasher.update(&go(grid, leaves, left)).update(&go(grid, leaves, right));
                first16(&hasher.finalize())
            }
            Some((left, _)) => go(grid, leaves, left),
        }
    }
    go(grid, leaves, grid.root())
}

/// The hash that is printed with an answer: BLAKE3 over the kernel's name, the arithmetic class and the canonical
/// encoding (postcard) of the answer. It does not depend on where the job ran or on where its inputs lie.
pub fn answer<A: Serialize>(kernel: &str, class: Class, answer: &A) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("muster answer v1");
    let bytes = postcard::to_stdvec(&(kernel, class, answer)).expect("an answer encodes");
    hasher.update(&bytes);
    hasher.finalize().to_hex().to_string()
}

/// The hash that names a job: the kernel, its class, and the resolved spec as canonical JSON.
pub fn spec(kernel: &str, class: Class, spec_json: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("muster spec v1");
    let class = class.to_string();
    for part in [kernel, class.as_str(), spec_json] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    first16(&hasher.finalize()).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Text(String);

    impl Partial for Text {
        fn merge(self, right: Self) -> Self {
            Text(self.0 + &right.0)
        }
    }

    #[test]
    fn a_root_depends_on_every_leaf_and_its_place() {
        let grid = Grid::new(5);
        let leaves: Vec<Hash16> = (0..5).map(|b| leaf(b, None, Some(&Text("x".into())))).collect();
        let root = merkle_root(grid, &leaves);
        for i in 0..5 {
            let mut changed = leaves.clone();
            changed[i][0] ^= 1;
            assert_ne!(merkle_root(grid, &changed), root);
        }
        let mut swapped = leaves.clone();
        swapped.swap(0, 1);
        assert_ne!(merkle_root(grid, &swapped), root);
        assert_eq!(merkle_root(Grid::new(1), &leaves[..1]), leaves[0]);
    }

    #[test]
    fn a_leaf_depends_on_what_was_read() {
        assert_ne!(leaf(0, None, Some(&Text("x".into()))), leaf(0, Some([0; 16]), Some(&Text("x".into()))));
        assert_ne!(leaf(0, None, Some(&Text("x".into()))), leaf(1, None, Some(&Text("x".into()))));
    }
}
