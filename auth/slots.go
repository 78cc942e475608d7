package auth

import (
	"context"
	"time"
)

// patience is how long credentials wait to be verified.
const patience = 5 * time.Second

// rank is how credentials queue for a slot.
type rank uint8

const (
	suspected rank = iota // their client failed a while ago, or has others under way
	fresh                 // nothing speaks against their client
	proven                // they were right before: nobody guesses those
)

// slots bound how much is verified at a time. All who wait are served in turn,
// and no more of them are suspected than there are slots: whoever comes fresh has
// never more than a few of a crowd ahead, however many stand outside.
type slots struct {
	all     chan struct{}
	suspect chan struct{} // those who are suspected and wait for one of all
	spare   chan struct{} // for those who are proven: no flood of wrong ones is in their way
}

func newSlots(n int) slots {
	return slots{all: make(chan struct{}, n), suspect: make(chan struct{}, n), spare: make(chan struct{}, max(1, n/4))}
}

// take waits for a slot, and returns what gives it back.
func (s slots) take(ctx context.Context, r rank) (slot <-chan struct{}, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, ErrBusy)
	defer cancel()
	var spare chan struct{}
	switch r {
	case suspected:
		select {
		case s.suspect <- struct{}{}:
			defer func() { <-s.suspect }()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	case proven:
		spare = s.spare
	}
	select {
	case s.all <- struct{}{}:
		slot = s.all
	case spare <- struct{}{}:
		slot = spare
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if ctx.Err() != nil { // both were there
		<-slot
		return nil, context.Cause(ctx)
	}
	return slot, nil
}
