package stock_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"viaduct/stock"
)

func TestStockGivesBackWhatWasPut(t *testing.T) {
	var s stock.Of[int]
	if p := s.Take(); p != nil {
		t.Fatalf("an empty stock gave %d", *p)
	}
	const room = 256
	things := make([]int, room+10)
	for i := range things {
		if things[i] = i; s.Put(&things[i]) != (i < room) {
			t.Fatalf("thing %d: stock of another size", i)
		}
	}
	if p := s.Take(); p != &things[room-1] {
		t.Errorf("took %d first, not what was put last", *p)
	}
	if !s.Remove(&things[3]) || s.Remove(&things[3]) || s.Remove(&things[room]) {
		t.Error("removed what was not there, or left what was")
	}
	seen := map[*int]bool{}
	for p := s.Take(); p != nil; p = s.Take() {
		if seen[p] {
			t.Fatalf("%d was given twice", *p)
		}
		seen[p] = true
	}
	if len(seen) != room-2 || seen[&things[3]] {
		t.Errorf("%d things came back", len(seen))
	}
}

// TestStockIsSafeForManyGoroutines: each thing has one owner at a time, and
// none is lost.
func TestStockIsSafeForManyGoroutines(t *testing.T) {
	const things, users = 40, 8
	type thing struct{ users atomic.Int32 }
	var s stock.Of[thing]
	for range things {
		s.Put(new(thing))
	}
	var wg sync.WaitGroup
	for user := range users {
		wg.Go(func() {
			for i := range 3000 {
				p := s.Take()
				if p == nil {
					continue
				}
				if p.users.Add(1) != 1 {
					t.Error("a thing has two owners")
				}
				p.users.Add(-1)
				if !s.Put(p) {
					t.Error("no room for what was taken")
				}
				if (i+user)%4 == 0 && s.Remove(p) && !s.Put(p) {
					t.Error("no room for what was removed")
				}
			}
		})
	}
	wg.Wait()
	n := 0
	for s.Take() != nil {
		n++
	}
	if n != things {
		t.Errorf("%d things are left of %d", n, things)
	}
}
