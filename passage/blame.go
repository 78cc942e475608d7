package passage

import (
	"context"
	"errors"

	"viaduct/fault"
	"viaduct/parent"
	"viaduct/upstream"
)

// innerError is of a hop before the last of a chain. What that one could not
// reach is no target of a client's, but the next hop.
type innerError struct{ err error }

func (e *innerError) Error() string { return e.err.Error() }
func (e *innerError) Unwrap() error { return e.err }

// Blame is who is to blame for a passage that failed, or for what was said on it.
func (p *Passage) Blame(err error) parent.Party {
	if IsFinal(err) || errors.Is(err, upstream.ErrNoPort) {
		return parent.Us // what was asked for; an address of ours without a port left
	}
	party := parent.Blame(err)
	if p.Direct() && party == parent.Parent {
		return parent.Target
	}
	if _, inner := errors.AsType[*innerError](err); inner && !IsCanceled(err) && party != parent.Us {
		return parent.Parent
	}
	return party
}

// IsFinal tells whether no other endpoint is worth a try: the request runs in a
// loop, or it is what was asked for that can't be.
func IsFinal(err error) bool {
	kind := fault.Classify(err)
	if kind == fault.LoopDetected {
		return true
	}
	if _, said := errors.AsType[*parent.RefusedError](err); said {
		return false
	}
	return kind == fault.RequestError || kind == fault.RequestDenied || kind == fault.DestinationIPProhibited
}

// Unconnected tells whether nothing was said to a parent yet. A connection that
// came too late is an error of the system's; what is late on one has been judged.
func (p *Passage) Unconnected(err error) bool {
	_, inner := errors.AsType[*innerError](err)
	_, said := errors.AsType[*parent.RefusedError](err)
	_, judged := errors.AsType[*fault.Error](err)
	if inner || said || p.Direct() || p.Blame(err) != parent.Parent {
		return false
	}
	switch fault.Classify(err) {
	case fault.ConnectionTimeout:
		return !judged
	case fault.ConnectionRefused, fault.DestinationIPUnroutable, fault.DNSError, fault.DNSTimeout:
		return true
	}
	return false
}

// IsCanceled tells whether nobody waits any more.
func IsCanceled(err error) bool { return errors.Is(err, context.Canceled) }

// StatusOf is that of a parent's no, 0 for none.
func StatusOf(err error) int {
	if e, said := errors.AsType[*parent.RefusedError](err); said {
		return e.Status
	}
	return 0
}

// IsDenial tells whether a parent has understood, and decided: that is never
// blamed on its health.
func IsDenial(err error) bool {
	status := StatusOf(err)
	return status >= 400 && status < 500 || fault.Classify(err) == fault.RequestDenied
}

// IsOurs tells the faults that are no parent's.
func IsOurs(k fault.Kind) bool {
	switch k {
	case fault.RequestError, fault.RequestDenied, fault.DestinationIPProhibited, fault.DestinationNotFound,
		fault.DestinationUnavailable, fault.ConnectionLimitReached, fault.ConfigurationError,
		fault.InternalError, fault.InternalResponse, fault.LoopDetected:
		return true
	}
	return false
}
