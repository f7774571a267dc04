//! Lists and sizes as people read them.

use std::fmt::Display;

/// The items, with `between` between them.
#[must_use]
pub fn joined(items: impl IntoIterator<Item = impl Display>, between: &str) -> String {
    let items = items.into_iter().map(|item| item.to_string());
    items.collect::<Vec<_>>().join(between)
}

/// A size as people read it: `512 B`, `12 KiB`, `119 MiB`, `1.5 GiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const GIB: u64 = 1 << 30;
    match count {
        0..1024 => format!("{count} B"),
        1024..0x10_0000 => format!("{} KiB", count >> 10),
        0x10_0000..GIB => format!("{} MiB", count >> 20),
        _ => format!("{}.{} GiB", count >> 30, (count % GIB) * 10 / GIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        let sizes = [0, 1023, 12_288, 125_000_000, 3 << 29, u64::MAX];
        let read = sizes.map(bytes);
        let expected = [
            "0 B",
            "1023 B",
            "12 KiB",
            "119 MiB",
            "1.5 GiB",
            "17179869183.9 GiB",
        ];
        assert_eq!(read, expected);
    }
}
