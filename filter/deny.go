package filter

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"viaduct/fault"
)

// What clients are told; who answers adds the name of the filter.
var (
	errContent     = &fault.Error{Kind: fault.RequestDenied, Text: "This kind of content is not allowed here."}
	errLargeAnswer = &fault.Error{Kind: fault.RequestDenied, Text: "The answer is larger than is allowed here."}
	// RFC 9110 section 15.5.14.
	errLargeRequest = &fault.Error{Kind: fault.RequestDenied, Code: http.StatusRequestEntityTooLarge, Text: "The request is larger than is allowed here."}
)

// deny is a Deny with terms, compiled.
type deny struct {
	Deny
	ofAnswer bool // asks something of the answer, which is what it refuses then
	outcome  *Outcome
}

func (d *Deny) isEmpty() bool {
	return len(d.RequestType) == 0 && len(d.AnswerType) == 0 && d.RequestSize == 0 && d.AnswerSize == 0
}

func compileDeny(from *Deny, f *compiled) *deny {
	d := &deny{Deny: *from, ofAnswer: len(from.AnswerType) > 0 || from.AnswerSize > 0}
	d.RequestType, d.AnswerType = lower(from.RequestType), lower(from.AnswerType)
	switch {
	case d.AnswerSize > 0:
		d.outcome = f.refusal(errLargeAnswer)
	case d.RequestSize > 0 && !d.ofAnswer:
		d.outcome = f.refusal(errLargeRequest)
	default:
		d.outcome = f.refusal(errContent)
	}
	return d
}

func (f *compiled) refusal(e *fault.Error) *Outcome {
	return &Outcome{Index: f.index, Name: f.name, Deny: e}
}

func (d *deny) hasRequestType(h http.Header) bool {
	return d.RequestType == nil || isOf(h, d.RequestType)
}

// hasAnswerType takes an answer of several parts for one of every type: the parts
// have types of their own, which nobody looks for.
func (d *deny) hasAnswerType(h http.Header) bool {
	return d.AnswerType == nil || isOf(h, d.AnswerType) || isOf(h, byteRanges)
}

// byteRanges are the types of answers with several parts of one thing (RFC 9110
// section 14.6). The second is from before there was a standard; browsers may
// still take it.
var byteRanges = []string{"multipart/byteranges", "multipart/x-byteranges"}

// isLargerRequest says whether the declared length is above the bound.
func (d *deny) isLargerRequest(r *http.Request) bool {
	return d.RequestSize == 0 || r.ContentLength > d.RequestSize
}

// mayBeLargerRequest says the same when the answer is there. Nobody counted a
// body of unknown length, which then is taken for a large one: a client must
// not get past a filter by leaving the length out.
func (d *deny) mayBeLargerRequest(r *http.Request) bool {
	return r == nil || r.ContentLength < 0 || d.isLargerRequest(r)
}

// isLargerAnswer says whether what is told of the length is above the bound.
func (d *deny) isLargerAnswer(r *http.Response) bool {
	switch {
	case d.AnswerSize == 0:
		return true
	case hasNoBody(r):
		return false
	}
	return r.ContentLength > d.AnswerSize || r.StatusCode == http.StatusPartialContent && isPartOfLarger(r.Header, d.AnswerSize)
}

// isPartOfLarger says whether the whole, of which an answer is a part, has more
// bytes than most: part by part, a client would get it past a filter. A whole of
// which nobody knows how large it is, is taken for a large one.
func isPartOfLarger(h http.Header, most int64) bool {
	ranges := h["Content-Range"]
	if len(ranges) != 1 || isOf(h, byteRanges) {
		return true
	}
	whole, ok := completeLength(trim(ranges[0]))
	return !ok || whole > most
}

// completeLength is how many bytes a Content-Range gives to the whole, if it
// tells that and is valid (RFC 9110 section 14.4).
func completeLength(s string) (whole int64, ok bool) {
	unit, rest, _ := strings.Cut(s, " ")
	part, total, _ := strings.Cut(rest, "/")
	from, to, _ := strings.Cut(part, "-")
	first, last, whole := position(from), position(to), position(total)
	return whole, isSame(unit, "bytes") && 0 <= first && first <= last && last < whole
}

// position reads digits; -1 is anything else.
func position(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || s[0] == '+' || s[0] == '-' {
		return -1
	}
	return n
}

// hasNoBody says whether an answer ends with its head, whatever length it
// declares (RFC 9112 section 6.3).
func hasNoBody(r *http.Response) bool {
	return r.StatusCode < 200 || r.StatusCode == http.StatusNoContent || r.StatusCode == http.StatusNotModified ||
		r.Request != nil && r.Request.Method == http.MethodHead
}

func lower(types []string) []string {
	var list []string
	for _, t := range types {
		list = append(list, strings.ToLower(t))
	}
	return list
}

// isOf says whether a message is of one of the types. One that has several, or
// one that can be read in several ways, is of all of them: recipients differ in
// which they take.
func isOf(h http.Header, types []string) bool {
	if slices.Contains(types, "*/*") {
		return true
	}
	for _, value := range h["Content-Type"] {
		// Browsers take a list, which no Content-Type may be, for its last entry.
		for written := range strings.SplitSeq(value, ",") {
			if isType(mediaType(written), types) {
				return true
			}
		}
	}
	return false
}

func isType(written string, types []string) bool {
	for _, t := range types {
		family, all := strings.CutSuffix(t, "*")
		if all && strings.HasPrefix(written, family) || written == t {
			return true
		}
	}
	return false
}

// mediaType is what stands before the parameters, in lower case. Browsers end it
// at a space or a parenthesis as well.
func mediaType(s string) string {
	s = strings.Trim(s, " \t")
	if i := strings.IndexAny(s, "; \t("); i >= 0 {
		s = s[:i]
	}
	return strings.ToLower(s)
}
