package amount_test

import (
	"math"
	"testing"
	"time"

	"viaduct/amount"
)

func TestTime(t *testing.T) {
	for _, word := range []string{"0s", "1ns", "1.5ms", "30s", "5m", "1h", "1h30m", "1h0m5s", "24h"} {
		d, err := time.ParseDuration(word)
		if got := amount.Time(d); err != nil || got != word {
			t.Errorf("%s: %s, %v", word, got, err)
		}
	}
}

func TestMeantTime(t *testing.T) {
	for word, want := range map[string]string{
		"30": "a time needs its unit: write 30s", "1d": "the units are ms, s, m and h, without a space: write 24h", "5 S": "the units are ms, s, m and h, without a space: write 5s",
		"2 hours": "the units are ms, s, m and h, without a space: write 2h", "9999999h": "is too long: write a time below 292 years, such as 7s",
		"": "write a time with its unit (ms, s, m, h), such as 7s", "soon": "write a time with its unit (ms, s, m, h), such as 7s", "-1": "write a time with its unit (ms, s, m, h), such as 7s",
	} {
		if got := amount.MeantTime(word, "7s"); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for word, want := range map[string]amount.Size{"1B": 1, "1KiB": 1024, "64 KiB": 65536, "10kB": 10000, "1MB": 1000000, "1MiB": 1 << 20, "1024GiB": 1 << 40, "0B": 0} {
		if got, ok := amount.ParseSize(word); !ok || got != want {
			t.Errorf("%s: %d, %v", word, got, ok)
		}
		if again, ok := amount.ParseSize(want.String()); !ok || again != want {
			t.Errorf("%d is written %s", want, want)
		}
	}
	for _, word := range []string{"", "1", "KiB", "-1KiB", "1.5KiB", "1kib", "9999999999GiB", "1K"} {
		if got, ok := amount.ParseSize(word); ok {
			t.Errorf("%q: %d", word, got)
		}
	}
}

func TestNumbers(t *testing.T) {
	for word, want := range map[string]float64{"0": 0, "1": 1, "1.25": 1.25, "125%": 1.25, "7%": 0.07, "0.1%": 0.001, "100%": 1, ".5": 0.5, "5.": 5, "007": 7} {
		if got, ok := amount.ParseNumber(word); !ok || got != want {
			t.Errorf("%s: %v, %v", word, got, ok)
		}
	}
	for _, word := range []string{"", "%", ".", "-1", "+1", "1e3", "1_0", "0x1", "inf", "NaN", "1 %", "%1", "1%%", "1.2.3", "1,5", "1111111111111111111111111111111"} {
		if got, ok := amount.ParseNumber(word); ok {
			t.Errorf("%q: %v", word, got)
		}
	}
}

// What is written is read as the same number, to the last bit.
func TestNumbersReadBack(t *testing.T) {
	for i := range 10_001 {
		for _, x := range []float64{float64(i) / 10_000, math.Sqrt(float64(i)), math.Nextafter(float64(i+1)/100, 200)} {
			for _, word := range []string{amount.Number(x), amount.Percent(x)} {
				if got, ok := amount.ParseNumber(word); !ok || got != x {
					t.Fatalf("%v is written %s, which is %v, %v", x, word, got, ok)
				}
			}
		}
	}
	for x, want := range map[float64]string{0: "0%", 0.07: "7%", 0.29: "29%", 0.333: "33.3%", 1: "100%", 1.25: "125%", 1.0 / 3: "0.3333333333333333"} {
		if got := amount.Percent(x); got != want {
			t.Errorf("%v: %s, want %s", x, got, want)
		}
	}
}
