package overload_test

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
)

// random runs a test with fixed seeds, and with one that nobody has seen before.
func random(t *testing.T, test func(t *testing.T, dice *rand.Rand)) {
	t.Helper()
	seeds := []uint64{rand.Uint64(), 1, 42, 20261124}
	if raced {
		seeds = seeds[:1] // one goroutine and a fake clock: there is nothing to detect
	}
	for _, seed := range seeds {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Logf("seed %d", seed)
			test(t, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

// together runs what each of n workers does, and returns after all of them.
func together(n int, work func(worker int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { work(i) })
	}
	wg.Wait()
}
