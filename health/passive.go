package health

import (
	"cmp"
	"fmt"
	"time"

	"viaduct/fault"
	"viaduct/verdict"
)

// PassiveOptions say what the end of a request tells of its endpoint. Zero values
// are the defaults.
type PassiveOptions struct {
	Off         bool
	BlankTunnel time.Duration // a tunnel that ends this soon without a byte is an error; 0 is 1 s, negative never
	Any5xx      bool          // 500 and its like are errors too, not only 502, 503 and 504
}

func (p *PassiveOptions) fill() { p.BlankTunnel = cmp.Or(p.BlankTunnel, time.Second) }

// Report is how one request or tunnel ended, as far as its endpoint is
// concerned. The zero Report is of one that was served.
type Report struct {
	Fault  fault.Kind // what went wrong on the endpoint's side, None if nothing did
	Status int        // of the endpoint's answer, 0 if none came
	Blame  Blame      // who is said to be at fault: wins over Fault and Status

	Opened   bool          // a tunnel was opened: its end is another report
	Tunnel   bool          // a tunnel that was open ended
	Received int64         // bytes that came from the endpoint through the tunnel
	Lived    time.Duration // from the choice of the endpoint to the end; 0 is not known
}

// Blame is who is at fault when a request fails. Whoever asks a parent proxy for
// a tunnel hands on what parent.Blame says, one to one: Unclear is Unsaid, Parent
// is ByEndpoint, Target is ByTarget, Us is ByUs; and ByClient if the client left.
type Blame uint8

// Those who may be.
const (
	Unsaid     Blame = iota // nobody said: Fault and Status tell
	ByEndpoint              // a failure, whatever Fault and Status are
	ByTarget                // what is behind the endpoint: says nothing of it
	ByUs                    // a limit, a rule or a login of ours: says nothing
	ByClient                // it left, or asked for what can't be: says nothing
)

// judgement is what a report says of the endpoint.
type judgement uint8

const (
	silent judgement = iota
	good
	bad
)

// judge tells gateway and local errors, which are the endpoint's, from what
// clients and targets do.
func (p *PassiveOptions) judge(r *Report) judgement {
	switch {
	case p.Off, r.Blame > ByEndpoint:
		return silent
	case r.Blame == ByEndpoint:
		return bad
	case r.Fault != fault.None:
		return blame(r.Fault)
	case r.blank(p.BlankTunnel):
		return bad
	case r.Status == 502, r.Status == 503, r.Status == 504:
		return bad
	case r.Status >= 500 && p.Any5xx:
		return bad
	}
	return good
}

// blank is of a tunnel that ended at once, without a byte from the endpoint.
func (r Report) blank(soon time.Duration) bool {
	return r.Tunnel && r.Received == 0 && r.Lived > 0 && r.Lived < soon
}

// blame tells whose a fault is. Refusals and limits of ours, and requests that
// are not valid, say nothing of the endpoint.
func blame(k fault.Kind) judgement {
	switch k {
	case fault.DNSTimeout, fault.DNSError, fault.DestinationIPUnroutable,
		fault.ConnectionRefused, fault.ConnectionTerminated, fault.ConnectionTimeout,
		fault.ConnectionReadTimeout, fault.ConnectionWriteTimeout,
		fault.TLSProtocolError, fault.TLSCertificateError, fault.TLSAlertReceived,
		fault.ResponseIncomplete, fault.ResponseHeaderSize, fault.ResponseTransferCoding, fault.ResponseTimeout,
		fault.UpgradeFailed, fault.ProtocolError:
		return bad
	}
	return silent
}

// String words a report of an error.
func (r Report) String() string {
	switch {
	case r.Fault != fault.None:
		return r.Fault.String()
	case r.Tunnel && r.Received == 0:
		return "a tunnel that ended at once without a byte"
	case r.Status != 0:
		return fmt.Sprintf("status %d", r.Status)
	}
	return "said to be its fault"
}

// Report tells how a request ended, once for each time that the endpoint was
// chosen. Its time is by the board's clock, which Now reads. While all is well it
// takes no lock and allocates nothing.
func (e *Endpoint) Report(now time.Duration, r Report) {
	rules := e.board.rules.Load()
	found := rules.Passive.judge(&r)
	switch verdict.Passive(e.passive.Load()) {
	case verdict.Ejected:
		return // it was sent before, or in panic
	case verdict.Probing:
		e.tried(now, found, r)
		return
	}
	switch {
	case found == good && r.Opened:
		e.opened.Add(1)
	case found == good:
		if e.errors.Load() != 0 {
			e.errors.Store(0)
		}
	case found == bad:
		if n := e.row(r.blank(rules.Passive.BlankTunnel)); rules.Ejection.Due(n) {
			e.outlier(now, n, r)
		}
	}
}

// row is how many errors there are in a row, with the one that is reported. A
// tunnel that was opened since the one before ends the row, whatever becomes of
// it, save that one which ends blank was none: it takes itself back.
func (e *Endpoint) row(blank bool) int {
	if blank {
		if n := e.opened.Load(); n > 0 {
			e.opened.CompareAndSwap(n, n-1)
		}
	}
	if e.opened.Swap(0) > 0 {
		e.errors.Store(1)
		return 1
	}
	return int(e.errors.Add(1))
}

// outlier ejects an endpoint after too many errors, if the caps allow it.
func (e *Endpoint) outlier(now time.Duration, n int, r Report) {
	b := e.board
	b.mu.Lock()
	defer b.unlock()
	if e.gone || e.facts.Passive != verdict.Fine || int(e.errors.Load()) < b.o.Ejection.Errors {
		return
	}
	if !b.mayEject(e) {
		b.capped++
		return
	}
	b.eject(e, now, fmt.Sprintf("%d errors in a row, the last was %s", n, r.String()))
}

// mayEject asks the caps.
func (b *Board) mayEject(e *Endpoint) bool { return b.o.Ejection.Allows(b.tally, e.part) }

// eject takes an endpoint out for a time.
func (b *Board) eject(e *Endpoint, now time.Duration, why string) {
	before := e.facts
	e.facts.Eject(&b.o.Ejection, now, b.unit(), why)
	e.anew()
	b.settle(e, now, before, verdict.Evidence{Cause: why, Streak: int(e.errors.Load())})
	e.errors.Store(0)
}

// anew lets the checks count what passes from now on.
func (e *Endpoint) anew() {
	for c := range e.counts {
		c.Anew()
	}
}

// release ends the time of an ejection: the next request is a trial.
func (b *Board) release(e *Endpoint, now time.Duration, why string) {
	before := e.facts
	e.facts.Release(&b.o.Ejection, now)
	b.settle(e, now, before, verdict.Evidence{Cause: why})
}

// retry lets another request through, after one that has told nothing.
func (b *Board) retry(e *Endpoint, now time.Duration) {
	e.facts.Retry(&b.o.Ejection, now)
	if e.rationed {
		e.node.Allow(1)
	}
	b.stir()
}

// tried heeds the end of a request while one is let through. Of one that was
// chosen before, it says nothing.
func (e *Endpoint) tried(now time.Duration, found judgement, r Report) {
	b := e.board
	b.mu.Lock()
	defer b.unlock()
	if e.gone || e.facts.Passive != verdict.Probing || e.facts.Stale(now-r.Lived) {
		return
	}
	switch {
	case found == bad && b.mayEject(e):
		e.errors.Store(1)
		b.eject(e, now, "the trial request failed: "+r.String())
	case found == bad:
		b.capped++
		b.forgive(e, now, "the trial request failed, but no more endpoints may be ejected")
	case found == good:
		b.forgive(e, now, "the trial request was served")
	default:
		b.retry(e, now)
	}
}

// forgive gives an endpoint all its requests again.
func (b *Board) forgive(e *Endpoint, now time.Duration, why string) {
	before := e.facts
	e.facts.Forgive(&b.o.Ejection, now)
	e.errors.Store(0)
	b.settle(e, now, before, verdict.Evidence{Cause: why})
}

// endEarly ends an ejection once every check of the endpoint has passed rise
// times in a row since. Only checks that began after the ejection count: one
// that was under way says nothing of what came of it. (One could also hold that
// no check brings an endpoint back before its time; but then a restart of five
// seconds costs half a minute. The trial request keeps what passes its checks
// and fails its requests from more than one error at a time.)
func (b *Board) endEarly(e *Endpoint, now time.Duration) {
	if e.facts.Passive != verdict.Ejected {
		return
	}
	if passes, yes := verdict.Proven(&b.o.Thresholds, now, e.counts); yes {
		b.release(e, now, fmt.Sprintf("%d checks in a row passed since it was ejected", passes))
	}
}
