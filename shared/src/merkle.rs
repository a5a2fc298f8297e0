//! The Merkle tree over a batch's records, as RFC 6962, 2.1 builds it, with SHA-256.

use sha2::{Digest, Sha256};

use crate::ids::Hash;

/// The hash of a leaf: SHA-256 over a zero byte and the record's bytes.
pub fn leaf(record: &[u8]) -> Hash {
    Hash(Sha256::new_with_prefix([0]).chain_update(record).finalize().into())
}

fn node(left: Hash, right: Hash) -> Hash {
    Hash(Sha256::new_with_prefix([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The largest power of two below `count` (at least 2).
fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// The root over the leaves; SHA-256 of nothing where there are none.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash(Sha256::digest([]).into()),
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(root(left), root(right))
        }
    }
}

/// The audit path of the leaf at `index`, from the leaf upwards. Empty where there is no such leaf.
pub fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() < 2 || index >= leaves.len() {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut below, beside) = if index < left.len() {
        (path(left, index), root(right))
    } else {
        (path(right, index - left.len()), root(left))
    };
    below.push(beside);
    below
}

/// The root that a leaf at `index` of `count` leads to by its path (RFC 9162, 2.1.3.2). `None` when path and place do not fit.
pub fn root_from_path(leaf: Hash, index: u64, count: u64, path: &[Hash]) -> Option<Hash> {
    if index >= count {
        return None;
    }
    let (mut place, mut last, mut hash) = (index, count - 1, leaf);
    for beside in path {
        if last == 0 {
            return None;
        }
        if place % 2 == 1 || place == last {
            hash = node(*beside, hash);
            while place % 2 == 0 && place != 0 {
                place /= 2;
                last /= 2;
            }
        } else {
            hash = node(hash, *beside);
        }
        place /= 2;
        last /= 2;
    }
    (last == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_proves_every_leaf_of_every_small_tree() {
        for count in 1..=70_usize {
            let leaves: Vec<Hash> = (0..count).map(|n| leaf(&n.to_le_bytes())).collect();
            let root = root(&leaves);
            for (index, leaf) in leaves.iter().enumerate() {
                let path = path(&leaves, index);
                assert_eq!(root_from_path(*leaf, index as u64, count as u64, &path), Some(root));
            }
        }
    }

    proptest! {
        #[test]
        fn it_refuses_another_leaf_place_or_path(count in 2_usize..300, seed in any::<usize>(), bit in 0_usize..256) {
            let leaves: Vec<Hash> = (0..count).map(|n| leaf(&n.to_le_bytes())).collect();
            let (root, index) = (root(&leaves), seed % count);
            let good = path(&leaves, index);
            let mut other = leaves[index];
            other.0[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(root_from_path(other, index as u64, count as u64, &good), Some(root));
            prop_assert_ne!(root_from_path(leaves[index], ((index + 1) % count) as u64, count as u64, &good), Some(root));
            for place in 0..good.len() {
                let mut bad = good.clone();
                bad[place].0[bit / 8] ^= 1 << (bit % 8);
                prop_assert_ne!(root_from_path(leaves[index], index as u64, count as u64, &bad), Some(root));
            }
            prop_assert_eq!(root_from_path(leaves[index], index as u64, count as u64, &good[1..]).filter(|r| *r == root), None);
        }
    }
}
