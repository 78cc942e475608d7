package turn_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"viaduct/turn"
)

// join adds so many, numbered from 0.
func join(t *testing.T, l *turn.Line[int], k int) []*turn.Waiter[int] {
	t.Helper()
	var list []*turn.Waiter[int]
	for i := range k {
		w := l.Join(i, k)
		if w == nil {
			t.Fatalf("there is no place for the waiter after %d of %d", i, k)
		}
		list = append(list, w)
	}
	return list
}

func served[T any](w *turn.Waiter[T]) bool {
	select {
	case <-w.Turn:
		return true
	default:
		return false
	}
}

// waiting is who is in the line, in its order.
func waiting(l *turn.Line[int]) []int {
	list := []int{}
	l.Serve(func(i int) (bool, bool) {
		list = append(list, i)
		return false, false
	})
	return list
}

func TestLineHasABound(t *testing.T) {
	var l turn.Line[int]
	if l.Join(1, 0) != nil || l.Len() != 0 {
		t.Fatal("a line for nobody has a waiter")
	}
	list := join(t, &l, 3)
	if l.Join(3, 3) != nil || l.Join(3, 2) != nil || l.Len() != 3 {
		t.Fatal("a full line has a place")
	}
	if !l.Leave(list[1]) || l.Len() != 2 {
		t.Fatal("a waiter cannot leave")
	}
	if l.Join(4, 3) == nil || l.Len() != 3 {
		t.Fatal("the place of one that left is not free")
	}
	if got := waiting(&l); !slices.Equal(got, []int{0, 2, 4}) {
		t.Fatalf("waiting are %v", got)
	}
}

func TestWaitersLeaveOnce(t *testing.T) {
	var l, other turn.Line[int]
	list := join(t, &l, 3)
	l.Serve(func(i int) (bool, bool) { return i == 0, false })
	if !served(list[0]) || l.Leave(list[0]) {
		t.Fatal("who was served leaves as if it was not")
	}
	if other.Leave(list[1]) || l.Len() != 2 {
		t.Fatal("a waiter left the line through another one")
	}
	if !l.Leave(list[1]) || l.Leave(list[1]) || served(list[1]) {
		t.Fatal("who left was served, or leaves again")
	}
	l.Serve(func(i int) (bool, bool) {
		if i != 2 {
			t.Errorf("%d was tried after it was gone", i)
		}
		return true, true
	})
	if !served(list[2]) || l.Len() != 0 {
		t.Fatal("the last one was forgotten")
	}
	l.Serve(func(int) (bool, bool) {
		t.Error("an empty line has somebody to try")
		return true, false
	})
}

// Who is the last that is tried may be served or not; nobody behind it is.
func TestServeStopsAtTheLast(t *testing.T) {
	for _, row := range []struct {
		name        string
		serve       []int
		last        int
		tried, left []int
	}{
		{"all", []int{0, 1, 2, 3}, 9, []int{0, 1, 2, 3}, []int{}},
		{"none", nil, 9, []int{0, 1, 2, 3}, []int{0, 1, 2, 3}},
		{"first is last", []int{0}, 0, []int{0}, []int{1, 2, 3}},
		{"first is last and not served", nil, 0, []int{0}, []int{0, 1, 2, 3}},
		{"one between", []int{1}, 9, []int{0, 1, 2, 3}, []int{0, 2, 3}},
		{"last is served", []int{0, 2}, 2, []int{0, 1, 2}, []int{1, 3}},
		{"last is not served", []int{1}, 2, []int{0, 1, 2}, []int{0, 2, 3}},
		{"end is last", []int{3}, 3, []int{0, 1, 2, 3}, []int{0, 1, 2}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var l turn.Line[int]
			list := join(t, &l, 4)
			var tried []int
			l.Serve(func(i int) (bool, bool) {
				tried = append(tried, i)
				return slices.Contains(row.serve, i), i == row.last
			})
			if left := waiting(&l); !slices.Equal(tried, row.tried) || !slices.Equal(left, row.left) || l.Len() != len(left) {
				t.Errorf("tried %v, want %v; left %v, want %v; length %d", tried, row.tried, left, row.left, l.Len())
			}
			for i, w := range list {
				if served(w) != slices.Contains(row.serve, i) {
					t.Errorf("%d: served is %v", i, served(w))
				}
			}
		})
	}
}

// A line is a list: whatever is done to it in whatever order.
func TestLineIsAList(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64, dice *rand.Rand) {
		var l turn.Line[int]
		var all []*turn.Waiter[int]
		want := []int{}
		for range 3000 {
			switch dice.IntN(5) {
			case 0, 1, 2:
				w := l.Join(len(all), 12)
				if (w == nil) != (len(want) == 12) {
					t.Fatalf("with %d of 12 the next is given %v", len(want), w)
				}
				if w != nil {
					want = append(want, len(all))
					all = append(all, w)
				}
			case 3:
				if len(all) > 0 {
					i := len(all) - 1 - dice.IntN(min(len(all), 15))
					at := slices.Index(want, i)
					if l.Leave(all[i]) != (at >= 0) {
						t.Fatalf("%d leaves %v", i, want)
					}
					if at >= 0 {
						want = slices.Delete(want, at, at+1)
					}
				}
			case 4:
				mask, end, k := dice.Uint32(), dice.IntN(14), -1
				tried := want[:min(end+1, len(want))]
				left := slices.DeleteFunc(slices.Clone(tried), func(i int) bool { return mask>>(i%32)&1 == 1 })
				left = append(left, want[len(tried):]...)
				l.Serve(func(i int) (bool, bool) {
					if k++; k >= len(tried) || i != tried[k] {
						t.Fatalf("try %d is %d, want one of %v", k, i, tried)
					}
					return mask>>(i%32)&1 == 1, k == end
				})
				want = left
			}
			if got := waiting(&l); !slices.Equal(got, want) || l.Len() != len(want) {
				t.Fatalf("waiting are %v, want %v; length %d", got, want, l.Len())
			}
		}
	})
}

// ticket is the number of a waiter among those of one joiner.
type ticket struct{ joiner, number int }

// Many join, some leave, many serve: everybody is served or has left, never
// both, and the waiters of one joiner are served in their order.
func TestNobodyIsForgotten(t *testing.T) {
	const joiners, each = 4, 1500
	eachSeed(t, func(t *testing.T, seed uint64, dice *rand.Rand) {
		var l turn.Line[ticket]
		var in, out, gone atomic.Int64
		last := [joiners]int{}
		serve := func() {
			l.Serve(func(who ticket) (bool, bool) { // under the lock of the line
				if who.number <= last[who.joiner] {
					t.Errorf("%d of joiner %d is served after %d", who.number, who.joiner, last[who.joiner])
				}
				last[who.joiner] = who.number
				out.Add(1)
				return true, who.number%3 == 0
			})
		}
		var all, servers sync.WaitGroup
		var done atomic.Bool
		for joiner := range joiners {
			salt := dice.Uint64()
			all.Go(func() {
				own := rand.New(rand.NewPCG(salt, 1))
				for number := 1; number <= each; {
					w := l.Join(ticket{joiner, number}, 40)
					if w == nil {
						runtime.Gosched()
						continue
					}
					number++
					in.Add(1)
					if own.IntN(3) == 0 {
						if l.Leave(w) {
							gone.Add(1)
							if served(w) {
								t.Error("one that left was served")
							}
						} else {
							<-w.Turn // closed by then, or nobody will
						}
					}
				}
			})
		}
		for range 3 {
			servers.Go(func() {
				for !done.Load() {
					serve()
					runtime.Gosched()
				}
			})
		}
		all.Wait()
		done.Store(true)
		servers.Wait()
		for l.Len() > 0 {
			serve()
		}
		if in.Load() != joiners*each || out.Load()+gone.Load() != in.Load() {
			t.Errorf("%d joined, %d were served and %d left", in.Load(), out.Load(), gone.Load())
		}
	})
}
