//! A made-up market: instruments whose prices walk at random from a seed, the same ones for the same seed.

use std::fmt::Write as _;

use anode_shared::time::Micros;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// The instruments that have names of their own, with the price around which each walks. Later ones are numbered.
const NAMED: [(&str, f64); 34] = [
    ("BTC", 97_312.5),
    ("ETH", 3_391.2),
    ("SOL", 245.8),
    ("XRP", 1.42),
    ("ADA", 0.98),
    ("DOGE", 0.39),
    ("AVAX", 42.1),
    ("LINK", 17.6),
    ("DOT", 8.4),
    ("LTC", 94.7),
    ("ATOM", 9.3),
    ("NEAR", 6.8),
    ("BCH", 462.3),
    ("UNI", 11.2),
    ("AAVE", 178.4),
    ("XLM", 0.44),
    ("XMR", 158.9),
    ("ETC", 27.3),
    ("FIL", 5.52),
    ("HBAR", 0.128),
    ("ICP", 9.87),
    ("ALGO", 0.27),
    ("APT", 12.6),
    ("ARB", 0.86),
    ("OP", 2.14),
    ("SUI", 3.41),
    ("INJ", 24.9),
    ("TIA", 5.18),
    ("SEI", 0.51),
    ("GRT", 0.213),
    ("MKR", 1_590.0),
    ("RUNE", 6.02),
    ("VET", 0.036),
    ("TRX", 0.197),
];
/// How far one step moves the price at most, as a part of it.
const STEP: f64 = 0.000_5;
/// How strongly a step pulls the price back to where it began: it stays plausible over days.
const PULL: f64 = 0.000_2;

/// An instrument's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrument {
    /// As the answers name it: `BTC/USD`.
    pub symbol: String,
    /// As paths and topics name it: `btc-usd`.
    pub slug: String,
}

impl Instrument {
    /// The instrument of a number, from 0.
    pub fn numbered(number: usize) -> Self {
        let base = NAMED.get(number).map_or_else(|| format!("X{number:04}"), |(name, _)| (*name).to_owned());
        Self { slug: format!("{}-usd", base.to_ascii_lowercase()), symbol: format!("{base}/USD") }
    }
}

/// One step of an instrument's price.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// The instrument's serial number of ticks, from 1, without holes.
    pub n: u64,
    /// When it happened.
    pub at: Micros,
    /// All of it as JSON.
    pub json: Bytes,
}

/// One instrument's walk.
#[derive(Debug)]
pub struct Walk {
    symbol: String,
    home: f64,
    price: f64,
    n: u64,
    random: StdRng,
}

impl Walk {
    /// The walk of an instrument. It depends on the seed and its number only.
    pub fn new(seed: u64, number: usize) -> Self {
        // Weyl's sequence keeps the seeds of neighbours apart.
        let own = seed.wrapping_add((number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut random = StdRng::seed_from_u64(own);
        let home = NAMED.get(number).map_or_else(|| random.random_range(1.0..500.0), |(_, price)| *price);
        Self { symbol: Instrument::numbered(number).symbol, home, price: home, n: 0, random }
    }

    /// Takes a step. The price differs from the one before, always.
    pub fn step(&mut self, at: Micros) -> Tick {
        let before = self.cents();
        let moved = self.price * self.random.random_range(-STEP..STEP) + (self.home - self.price) * PULL;
        self.price = (self.price + moved).max(self.home / 10.0);
        if self.cents() == before {
            self.price += if self.random.random() { self.unit() } else { -self.unit() };
        }
        self.n += 1;
        Tick { n: self.n, at, json: self.json(at) }
    }

    /// Digits behind the point: five or six digits that count, as exchanges show prices.
    fn digits(&self) -> usize {
        if self.home >= 1_000.0 {
            2
        } else if self.home >= 10.0 {
            3
        } else {
            5
        }
    }

    /// The smallest step of the price.
    fn unit(&self) -> f64 {
        [1.0, 0.1, 0.01, 0.001, 0.000_1, 0.000_01][self.digits()]
    }

    /// The price in units, as shown.
    fn cents(&self) -> i64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "prices stay near their home, far below 2^53 units"
        )]
        let units = (self.price / self.unit()).round() as i64;
        units
    }

    fn json(&mut self, at: Micros) -> Bytes {
        let (digits, unit, price) = (self.digits(), self.unit(), self.price);
        let half = unit * f64::from(self.random.random_range(1_u8..5));
        let size: f64 = self.random.random_range(0.001..5.0);
        let side = if self.random.random() { "buy" } else { "sell" };
        let mut text = String::with_capacity(192);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"{{"symbol":"{}","n":{},"at":{at},"side":"{side}","price":{price:.digits$},"size":{size:.4},"bid":{:.digits$},"ask":{:.digits$}}}"#,
            self.symbol,
            self.n,
            price - half,
            price + half,
        );
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn walk(seed: u64, number: usize, steps: u64) -> Vec<Value> {
        let mut walk = Walk::new(seed, number);
        (1..=steps).map(|at| serde_json::from_slice(&walk.step(at * 10).json).unwrap()).collect()
    }

    #[test]
    fn it_walks_the_same_way_from_the_same_seed_only() {
        assert_eq!(walk(7, 3, 50), walk(7, 3, 50));
        assert_ne!(walk(7, 3, 50), walk(8, 3, 50));
        assert_ne!(walk(7, 20, 50), walk(7, 21, 50));
    }

    #[test]
    fn it_numbers_its_ticks_and_changes_with_each() {
        for number in [0, 3, 5, 40] {
            let ticks = walk(1, number, 2_000);
            let home = Walk::new(1, number).home;
            for (index, pair) in ticks.windows(2).enumerate() {
                assert_ne!(pair[0]["price"], pair[1]["price"], "instrument {number}, tick {index}");
            }
            for (index, tick) in ticks.iter().enumerate() {
                assert_eq!(
                    (tick["n"].as_u64(), tick["at"].as_u64()),
                    (Some(index as u64 + 1), Some((index as u64 + 1) * 10))
                );
                let price = tick["price"].as_f64().unwrap();
                assert!((home / 2.0..home * 2.0).contains(&price), "instrument {number} ran away: {tick}");
                assert!(
                    tick["bid"].as_f64() < tick["price"].as_f64()
                        && tick["price"].as_f64() < tick["ask"].as_f64()
                );
            }
        }
    }

    #[test]
    fn it_names_instruments() {
        for (number, symbol, slug) in
            [(0, "BTC/USD", "btc-usd"), (33, "TRX/USD", "trx-usd"), (34, "X0034/USD", "x0034-usd")]
        {
            assert_eq!(
                Instrument::numbered(number),
                Instrument { symbol: symbol.to_owned(), slug: slug.to_owned() }
            );
        }
    }
}
