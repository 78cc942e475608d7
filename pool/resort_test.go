package pool_test

import (
	"testing"

	"viaduct/lb"
	"viaduct/pool"
)

// resorts makes a pool with parents and, behind them, direct.
func resorts(t *testing.T, first bool) *pool.Pool {
	t.Helper()
	o := inOrder(2)
	direct := o.Endpoints[0]
	direct.ID, direct.Hops = "direct", nil
	if !first {
		o.LB.Policy, direct.Tier = lb.Random, 3
	}
	o.Endpoints = append(o.Endpoints, direct)
	return newPool(t, o)
}

// What is said by no parent is what direct is for, and nothing else.
func TestDirectBehindParentsIsTheLastResort(t *testing.T) {
	for _, c := range []struct {
		name string
		errs []error // of the two parents
		want string
	}{
		{"both are down", []error{errDown, errDown}, "direct"},
		{"one has said no", []error{answer("403 No"), errDown}, ""},
		{"the other has", []error{errDown, answer("502 No")}, ""},
		{"they want another login", []error{answer("407 Who"), answer("407 Who")}, ""},
		{"they are silent", []error{silence(), silence()}, "direct"},
	} {
		for _, first := range []bool{true, false} {
			p := resorts(t, first)
			r := begin(t, p, to("x.test"), 0)
			for _, err := range c.errs {
				e, got := r.Pick(0)
				if got != nil || e.Direct() {
					t.Fatalf("%s: %v, %v", c.name, e, got)
				}
				r.Failed(0, err)
			}
			got := ""
			if e, err := r.Pick(0); err == nil {
				got = e.ID()
			}
			if got != c.want {
				t.Errorf("%s: then %q", c.name, got)
			}
			r.End(0, served)
			idle(t, p)
		}
	}
}

// Load that a tier has too much of goes to the next, but not past the parents.
func TestDirectBehindParentsTakesNoLoadOffThem(t *testing.T) {
	p := resorts(t, false)
	for range 5 {
		fail(t, p, to("x.test"), 0, errDown)
	}
	for range 1000 {
		r := begin(t, p, to("y.test"), 0)
		e, err := r.Pick(0)
		if err != nil || e.Direct() {
			t.Fatalf("%v, %v", e, err)
		}
		r.Answered(0)
		r.End(0, served)
	}
}
