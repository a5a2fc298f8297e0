//! Random numbers from one seed: the driver gives the seed, so that all that follows can be played again.

/// A small generator (splitmix64, <https://prng.di.unimi.it/splitmix64.c>): to spread load, never for secrets.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.roll() % bound }
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let place = self.below(all.len() as u64);
        all.get(usize::try_from(place).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_repeats_itself_and_stays_in_bounds() {
        let (mut one, mut other) = (Dice::new(5), Dice::new(5));
        let rolls: Vec<u64> = (0..1_000).map(|_| one.below(6)).collect();
        assert!(rolls.iter().all(|roll| *roll == other.below(6) && *roll < 6));
        assert!((0..6).all(|face| rolls.iter().filter(|roll| **roll == face).count() > 100));
        assert_eq!((one.below(0), one.pick::<u8>(&[])), (0, None));
    }
}
