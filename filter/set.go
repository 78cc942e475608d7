package filter

import (
	"net/http"

	"viaduct/fault"
)

// Set is the filters that match a request, in order, and what they found of it
// so far: it belongs to that request, and to one goroutine at a time. Each step
// is taken once: Request, RequestLimit, and of the answer Answer, AnswerLimit.
type Set []pending

// pending is a filter in the course of a request. What its deny asks of a
// message is judged before the edits of this filter and of those after it, and
// kept.
type pending struct {
	*compiled
	asked, answered verdict // of request and answer
	ended           bool    // it refused or answered the request, or refused the answer
}

// verdict is what was found of a message. Zero is nothing yet.
type verdict uint8

const (
	unasked verdict = iota
	fails
	holds
)

func judged(is bool) verdict {
	if is {
		return holds
	}
	return fails
}

// Outcome is how a filter ends a request. It is shared: whoever gets it changes
// nothing in it.
type Outcome struct {
	Index int    // of the filter in the list
	Name  string // of the filter
	Deny  *fault.Error
	// Without Deny: an answer of our own.
	Status         int
	Type, Location string // Content-Type and Location; "" for none
	Body           []byte
}

// Names are those of the filters, in order.
func (s Set) Names() []string {
	list := make([]string, len(s))
	for i := range s {
		list[i] = s[i].name
	}
	return list
}

// Conditional are the names of the filters that deny by type or size and have not
// decided yet. Whoever only asks what would become of a request shows it without
// fields and body; that such a one is not of a type decides nothing. What stands
// behind a filter that ends the request is never asked and not among them.
func (s Set) Conditional() []string {
	var list []string
	for i := range s {
		f := &s[i]
		if f.ended || f.outcome != nil {
			break
		}
		if d := f.deny; d != nil && (!d.ofAnswer || f.answered == unasked) {
			list = append(list, f.name)
		}
	}
	return list
}

// Edits says whether a filter edits a field with this name in the answer, or else
// in the request. Names are equal as they are for the edits: without letter case,
// and with "_" like "-". Without allocation.
func (s Set) Edits(answer bool, name []byte) bool {
	for i := range s {
		e := s[i].request
		if answer {
			e = s[i].answer
		}
		if e.touches(name) {
			return true
		}
	}
	return false
}

// Request edits the fields of a request, whose keys are canonical and whose URL
// is absolute. It ends with the first filter that refuses the request or answers
// it; nil: the request goes on.
func (s Set) Request(r *http.Request) *Outcome {
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	for i := range s {
		f := &s[i]
		if o := f.endRequest(r); o != nil {
			f.ended = true
			return o
		}
		f.request.apply(r.Header)
	}
	return nil
}

func (f *pending) endRequest(r *http.Request) *Outcome {
	switch d := f.deny; {
	case f.base != "":
		o := *f.outcome
		o.Location = f.base + location(r.URL)
		return &o
	case f.outcome != nil:
		return f.outcome
	case d == nil:
		return nil
	default:
		f.asked = judged(d.hasRequestType(r.Header))
		if f.asked == holds && !d.ofAnswer && d.isLargerRequest(r) {
			return d.outcome
		}
		return nil
	}
}

// RequestLimit is how many bytes the body of a request of unknown length may
// have, and what becomes of it when there are more; -1 is no bound.
func (s Set) RequestLimit(r *http.Request) (most int64, o *Outcome) {
	most = -1
	if r.ContentLength >= 0 {
		return most, nil
	}
	for i := range s {
		f := &s[i]
		if d := f.deny; d != nil && !d.ofAnswer && f.requestHolds(r) && (most < 0 || d.RequestSize < most) {
			most, o = d.RequestSize, d.outcome
		}
	}
	return most, o
}

// requestHolds says whether a request is of a type that a filter refuses.
func (f *pending) requestHolds(r *http.Request) bool {
	switch {
	case f.asked != unasked:
		return f.asked == holds
	case r == nil:
		return true // nothing is known that would speak against it
	}
	return f.deny.hasRequestType(r.Header)
}

// Answer edits the fields of an answer, whose keys are canonical. It ends with
// the first filter that refuses the answer; nil: the answer goes on.
func (s Set) Answer(r *http.Response) *Outcome {
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	for i := range s {
		f := &s[i]
		if o := f.endAnswer(r); o != nil {
			f.ended = true
			return o
		}
		f.answer.apply(r.Header)
	}
	return nil
}

func (f *pending) endAnswer(r *http.Response) *Outcome {
	d := f.deny
	if d == nil || !d.ofAnswer {
		return nil
	}
	f.answered = judged(f.requestHolds(r.Request) && d.mayBeLargerRequest(r.Request) && d.hasAnswerType(r.Header))
	if f.answered == holds && d.isLargerAnswer(r) {
		return d.outcome
	}
	return nil
}

// AnswerLimit is how many bytes the body of an answer of unknown length may
// have, and what becomes of it when there are more; -1 is no bound.
func (s Set) AnswerLimit(r *http.Response) (most int64, o *Outcome) {
	most = -1
	if r.ContentLength >= 0 || hasNoBody(r) {
		return most, nil
	}
	for i := range s {
		f := &s[i]
		d := f.deny
		if d == nil || d.AnswerSize == 0 || most >= 0 && d.AnswerSize >= most {
			continue
		}
		if f.answered == unasked {
			f.endAnswer(r)
		}
		if f.answered == holds {
			most, o = d.AnswerSize, d.outcome
		}
	}
	return most, o
}
