package ewma_test

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"viaduct/ewma"
)

type distribution struct {
	name string
	tail float64 // what 95 % don't exceed
	draw func(dice *rand.Rand) float64
}

func distributions() []distribution {
	return []distribution{
		{"even", 95e6, func(dice *rand.Rand) float64 { return dice.Float64() * 100e6 }},
		{"exponential", 20e6 * math.Log(20), func(dice *rand.Rand) float64 { return dice.ExpFloat64() * 20e6 }},
		{"lognormal", 10e6 * math.Exp(0.82*1.6448536), func(dice *rand.Rand) float64 { return 10e6 * math.Exp(0.82*dice.NormFloat64()) }},
	}
}

// Wherever it begins it comes near to the tail and stays there: on average
// within a few percent, and never far off.
func TestTailIsNearTheTail(t *testing.T) {
	answers := 100_000
	if raceEnabled {
		answers = 40_000
	}
	for _, d := range distributions() {
		t.Run(d.name, func(t *testing.T) {
			eachSeed(t, func(t *testing.T, dice *rand.Rand) {
				for _, begin := range []float64{d.tail, d.tail / 100, d.tail * 20} {
					var tail ewma.Tail
					tail.Served(time.Duration(begin))
					for range 10_000 {
						tail.Served(time.Duration(d.draw(dice)))
					}
					sum, low, high := 0.0, math.Inf(1), 0.0
					for range answers {
						tail.Served(time.Duration(d.draw(dice)))
						at := tail.At() / d.tail
						sum, low, high = sum+at, min(low, at), max(high, at)
					}
					if mean := sum / float64(answers); math.Abs(mean-1) > 0.08 || low < 0.65 || high > 1.6 {
						t.Errorf("from %.3g: %.3f of the tail on average, between %.3f and %.3f", begin, mean, low, high)
					}
				}
			})
		})
	}
}

// One answer in twenty exceeds it, whatever they are like: also when they
// grow without end, or come in two kinds.
func TestOneInTwentyExceedsTheTail(t *testing.T) {
	eachSeed(t, func(t *testing.T, dice *rand.Rand) {
		for name, draw := range map[string]func(i int) float64{
			"two kinds": func(int) float64 {
				if dice.IntN(10) == 0 {
					return 1e9
				}
				return 1e6
			},
			"one kind":   func(int) float64 { return 5e6 },
			"in waves":   func(i int) float64 { return 1e7 * (2 + math.Sin(float64(i)/3000)) * dice.ExpFloat64() },
			"never ends": func(i int) float64 { return 1e6 * math.Exp(float64(i)/3e4) * dice.ExpFloat64() },
		} {
			var tail ewma.Tail
			over := 0
			const first, answers = 10_000, 100_000 // the first lead to where it may be
			for i := range first + answers {
				latency := time.Duration(draw(i))
				if i >= first && float64(latency) > tail.At() {
					over++
				}
				tail.Served(latency)
			}
			if part := float64(over) / answers; part < 0.046 || part > 0.054 {
				t.Errorf("%s: %.4f of the answers exceed it", name, part)
			}
		}
	})
}

func TestTailOfNothing(t *testing.T) {
	var tail ewma.Tail
	if tail.At() != 0 {
		t.Fatal("a tail before any answer")
	}
	tail.Served(0)
	tail.Served(-time.Second)
	if at := tail.At(); !(at > 0 && at < 10) {
		t.Fatalf("answers in no time have a tail of %v", at)
	}
	tail = ewma.Tail{}
	tail.Served(7 * ms)
	about(t, "the first answer", tail.At(), float64(7*ms), 1e-6)
}

// Tellers may lose one another's step, no more: it stays among the answers.
func TestTailAmongMany(t *testing.T) {
	var tail ewma.Tail
	tail.Served(20 * ms)
	var all sync.WaitGroup
	for teller := range 8 {
		all.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(teller), 7))
			for range 5000 {
				tail.Served(10*ms + time.Duration(dice.IntN(int(90*ms))))
				if at := tail.At(); !(at > 9e6 && at < 103e6) {
					t.Errorf("between 10 and 100 ms: %v", at)
				}
			}
		})
	}
	all.Wait()
	if at := tail.At(); at < 60e6 {
		t.Errorf("of answers up to 100 ms: %v", at)
	}
}
