//! What `ipmitool` prints.

use crate::bmc::Sensor;

/// Most sensors kept.
const SENSORS: usize = 256;

/// Hexadecimal bytes, over any number of lines.
pub(super) fn bytes(printed: &str) -> Option<Vec<u8>> {
    printed.split_whitespace().map(|it| u8::from_str_radix(it, 16).ok()).collect()
}

/// The words of `raw`, if each is a byte: `0x1f`, `31`.
pub(super) fn raw_words(text: &str) -> Option<Vec<&str>> {
    let is_byte = |it: &&str| match it.strip_prefix("0x").or_else(|| it.strip_prefix("0X")) {
        Some(hex) => !hex.starts_with('+') && u8::from_str_radix(hex, 16).is_ok(),
        None => it.bytes().all(|it| it.is_ascii_digit()) && it.parse::<u8>().is_ok(),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    (!words.is_empty() && words.iter().all(is_byte)).then_some(words)
}

/// Sensors of `-c sdr list full`: name, reading, unit, status.
pub(super) fn sensors(printed: &str) -> Vec<Sensor> {
    let one = |line: &str| {
        let mut fields = line.split(',').map(str::trim);
        let (name, value, unit) = (fields.next()?, fields.next()?, fields.next()?);
        let (kind, unit) = match unit {
            "degrees C" => ("temperature", "celsius"),
            "RPM" => ("fan", "rpm"),
            "Watts" => ("power", "watts"),
            "percent" => ("fan", "percent"),
            _ => return None,
        };
        let value: f64 = value.parse().ok().filter(|it: &f64| it.is_finite())?;
        Some(Sensor { kind, name: name.to_owned(), value, unit })
    };
    printed.lines().filter_map(one).take(SENSORS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_bytes() {
        assert_eq!(bytes(" 01 05 e0 08 00 00 00\n"), Some(vec![1, 5, 0xe0, 8, 0, 0, 0]));
        assert_eq!(bytes(" 01 xx\n"), None);
    }

    #[test]
    fn only_bytes_are_sent_raw() {
        assert_eq!(raw_words("0x00 0x08  3").unwrap(), ["0x00", "0x08", "3"]);
        for bad in ["", "  ", "0x100", "256", "-h", "0x", "power", "0x00;reboot", "0x+1", "+1"] {
            assert_eq!(raw_words(bad), None, "{bad}");
        }
    }

    #[test]
    fn sensors_with_a_reading_of_a_known_unit() {
        let printed =
            "CPU1 Temp,41,degrees C,ok\nFan1,5800,RPM,ok\nP12V,12.1,Volts,ok\nPSU,,Watts,ns\nTotal,212.5,Watts,ok\nFan2,40,percent,ok\nx\n";
        let read: Vec<(String, f64, &str)> = sensors(printed).into_iter().map(|it| (it.name, it.value, it.unit)).collect();
        let wanted = [("CPU1 Temp", 41.0, "celsius"), ("Fan1", 5800.0, "rpm"), ("Total", 212.5, "watts"), ("Fan2", 40.0, "percent")];
        assert_eq!(read, wanted.map(|(name, value, unit)| (name.to_owned(), value, unit)));
    }
}
