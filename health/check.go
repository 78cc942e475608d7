package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"viaduct/fault"
	"viaduct/probe"
	"viaduct/verdict"
)

// Checker asks an endpoint how it is. A probe.Check is one. Two with the same
// Key are the same definition, and share what was found across a reload.
type Checker interface {
	Run(ctx context.Context, e probe.Endpoint) probe.Result
	Key() string
}

// Watcher is a Checker that is told what changes instead of asking. Where the
// endpoint can't do that (probe.ErrUnimplemented) it is asked instead.
type Watcher interface {
	WatchRun(ctx context.Context, e probe.Endpoint, tell func(probe.Result)) error
}

// definition is c as it is defined in package probe, if it is.
func definition(c Checker) (p probe.Check, is bool) {
	switch c := c.(type) {
	case probe.Check:
		return c, true
	case *probe.Check:
		return *c, true
	}
	return p, false
}

// watcher is c as a Watcher, nil if it is to ask.
func watcher(c Checker) Watcher {
	if p, is := definition(c); is && !p.Watch {
		return nil
	}
	w, _ := c.(Watcher)
	return w
}

// label is what people read of a check, without the query of a path: there may
// be a secret in it.
func label(c Checker) string {
	name := c.Key()
	if s, ok := c.(fmt.Stringer); ok {
		name = s.String()
	}
	name, _, _ = strings.Cut(name, "?")
	return name
}

// check is one check of one endpoint. The board's lock guards it.
type check struct {
	verdict.Count
	of    *Endpoint
	asker Checker
	key   string

	seen   bool
	last   probe.Result
	lastAt time.Time
	mute   bool // the last answer says nothing of the endpoint

	confirm  time.Duration // when the silence of a watch counts as another success; 0 is never
	noWatch  bool          // the endpoint has no watch: ask
	ended    bool          // a watch that had spoken is over
	running  bool
	stop     context.CancelFunc
	replaced bool          // it is no longer asked: what still comes is dropped
	poke     chan struct{} // times have changed
}

func newCheck(e *Endpoint, asker Checker) *check {
	return &check{Count: verdict.NewCount(label(asker)), of: e, asker: asker, key: asker.Key(), poke: make(chan struct{}, 1)}
}

// redefine gives a check the same definition as another value.
func (c *check) redefine(asker Checker) {
	c.asker = asker
	c.Rename(label(asker))
}

// void tells whether an answer says nothing of the endpoint: its agent can't be
// asked about it, or we have run out of descriptors or ports.
func (c *check) void(r *probe.Result) bool {
	if r.Err == nil || r.Word != probe.NoWord {
		return false
	}
	p, _ := definition(c.asker)
	return p.Kind == probe.Agent || fault.Classify(r.Err) == fault.ConnectionLimitReached || errors.Is(r.Err, syscall.EADDRNOTAVAIL)
}

// retire ends a check that is no longer wanted.
func (c *check) retire() {
	c.replaced = true
	if c.stop != nil {
		c.stop()
	}
}
