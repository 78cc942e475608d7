package verdict_test

import (
	"testing"
	"time"

	"viaduct/verdict"
)

// TestLedgerKeepsTheLast, in order, when its size changes too.
func TestLedgerKeepsTheLast(t *testing.T) {
	var l verdict.Ledger
	n := time.Duration(0)
	for _, c := range []struct{ size, adds, want int }{{5, 0, 0}, {5, 3, 3}, {5, 4, 5}, {2, 1, 2}, {8, 4, 6}, {8, 20, 8}, {1, 1, 1}} {
		for range c.adds {
			n++
			l.Add(verdict.Transition{At: n}, c.size)
		}
		list := l.List()
		if len(list) != c.want {
			t.Fatalf("%+v: %d are kept", c, len(list))
		}
		for i := range list {
			if want := n - time.Duration(len(list)-1-i); list[i].At != want {
				t.Errorf("%+v: number %d is %d, want %d", c, i, list[i].At, want)
			}
		}
	}
}
