// Package filter edits and refuses messages: the fields of requests and answers,
// what kind of content they carry and how much of it, and requests that are
// answered here or sent elsewhere.
//
// A Chain is the filters of one proxy in the order in which the operator wrote
// them. All that match a request apply, until one ends it. A Chain keeps nothing
// of a request and may be used by any number of goroutines at once; the Set that
// it gives for a request belongs to that request.
package filter

import (
	"errors"
	"fmt"
	"slices"

	"viaduct/acl"
	"viaduct/fault"
	"viaduct/hop"
)

// Rule is one filter as the operator wrote it. What is nil is left out; Deny,
// Respond and Redirect exclude each other.
type Rule struct {
	Name string // what logs and clients are told; never empty
	// Match says which requests it is for; nil: all. Only its terms count, not
	// its name and effect.
	Match           *acl.Rule
	Request, Answer *Edit
	Deny            *Deny
	Respond         *Respond
	Redirect        *Redirect
}

// Edit changes the fields of a message, each of which only one of its lists may
// name.
type Edit struct {
	Set     []string // "Name: value": takes the place of all fields of that name, or is added
	Remove  []string // names
	Replace []Replace
}

// Replace changes each value of a field that is there.
type Replace struct {
	Header string // its name
	Match  string // in the syntax of Go's package regexp
	With   string // may have $1 or ${name} in it; $$ is a dollar sign
}

// Deny refuses a message of which all that is written holds; without anything,
// every request. Of an answer that is a part of something (206), the size is that
// of the whole; where that is not told, it is above every bound. An answer with
// several parts (multipart/byteranges) is of every type.
type Deny struct {
	RequestType, AnswerType []string // media types without parameters: image/png, video/*, */*; nil: not asked
	RequestSize, AnswerSize int64    // refuses a body that is larger, in bytes; 0: not asked
}

// Respond answers instead of the origin.
type Respond struct {
	Status int    // 0 is 200
	Type   string // Content-Type; "" is text/plain; charset=utf-8
	Body   []byte
}

// Redirect sends the client elsewhere.
type Redirect struct {
	To       string // an absolute http or https URL
	KeepPath bool   // append path and query of the request
	Status   int    // 0 is 302
}

// RuleError says what is wrong with a filter.
type RuleError struct {
	Rule  int    // its index
	Field string // "request.set[0]", "match.host[1]", "deny.answer_type[0]"; "" for the filter as a whole
	Value string // what was written there; "" if the text is not about that
	Text  string // what is wrong and what to do; does not repeat the value
}

func (e *RuleError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("filter %d: %s", e.Rule, e.Text)
	}
	return fmt.Sprintf("filter %d: %s: %s", e.Rule, e.Field, e.Text)
}

// Chain is a compiled list of filters. The nil Chain has none.
type Chain struct {
	filters []*compiled
	timed   bool
}

// compiled is a Rule, compiled.
type compiled struct {
	index           int
	name            string
	match           *acl.Policy // nil: every request
	request, answer *edit
	deny            *deny
	outcome         *Outcome // of respond, redirect and a deny without terms
	base            string   // of a redirect that keeps the path: what stands before it
}

// Compile makes a Chain of filters for a proxy with this profile, whose work
// they may not undo. Its errors are of type *RuleError.
func Compile(rules []Rule, profile hop.Anonymity) (*Chain, error) {
	c := &Chain{filters: make([]*compiled, 0, len(rules))}
	for i := range rules {
		f, err := compile(&rules[i], i, profile)
		if err != nil {
			err.Rule = i
			return nil, err
		}
		c.filters = append(c.filters, f)
		c.timed = c.timed || f.match != nil && f.match.Timed()
	}
	return c, nil
}

func compile(r *Rule, index int, profile hop.Anonymity) (*compiled, *RuleError) {
	problems := CheckRule(r, profile)
	if r.Name == "" {
		problems = append(problems, RuleError{Text: "has no name: give it one"})
	}
	if len(problems) > 0 {
		return nil, &problems[0]
	}
	match, err := compileMatch(r.Match)
	if err != nil {
		return nil, err
	}
	f := &compiled{index: index, name: r.Name, match: match, request: compileEdit(r.Request), answer: compileEdit(r.Answer)}
	f.end(r)
	return f, nil
}

// compileMatch makes a deny of the terms: it holds for any way in which a host
// or a path can be read, so that no spelling of them leads past a filter.
func compileMatch(from *acl.Rule) (*acl.Policy, *RuleError) {
	if from == nil {
		return nil, nil
	}
	rule := *from
	rule.Name, rule.Effect, rule.Report = "match", acl.Deny, false
	p, err := acl.Compile([]acl.Rule{rule}, acl.Options{})
	if bad, ok := errors.AsType[*acl.RuleError](err); ok {
		field := "match." + bad.Field
		if bad.Value >= 0 {
			field = item(field, bad.Value)
		}
		return nil, &RuleError{Field: field, Text: bad.Text}
	}
	return p, nil
}

// end compiles what ends a request.
func (f *compiled) end(r *Rule) {
	switch {
	case r.Deny != nil && r.Deny.isEmpty():
		f.outcome = f.refusal(errDenied)
	case r.Deny != nil:
		f.deny = compileDeny(r.Deny, f)
	case r.Respond != nil:
		f.outcome = r.Respond.outcome(f)
	case r.Redirect != nil:
		f.outcome, f.base = r.Redirect.outcome(f)
	}
}

// Names are those of the filters, in order.
func (c *Chain) Names() []string {
	if c == nil {
		return nil
	}
	return names(c.filters)
}

func names(filters []*compiled) []string {
	list := make([]string, len(filters))
	for i, f := range filters {
		list[i] = f.name
	}
	return list
}

// Timed says whether a match asks for the time.
func (c *Chain) Timed() bool { return c != nil && c.timed }

// Matching finds the filters for a request. A CONNECT has none. Without
// allocation if there are none, else with one.
func (c *Chain) Matching(q *acl.Query) Set {
	if c == nil || q.Method == "CONNECT" {
		return nil
	}
	var few [16]pending
	found := few[:0]
	for _, f := range c.filters {
		if f.match == nil || f.matches(q) {
			found = append(found, pending{compiled: f})
		}
	}
	if len(found) == 0 {
		return nil
	}
	return slices.Clone(found)
}

func (f *compiled) matches(q *acl.Query) bool {
	d := f.match.Decide(q)
	return d.Effect == acl.Deny && d.Index == 0
}

// errDenied is what a client is told of a filter that refuses whatever matches.
var errDenied = fault.New(fault.RequestDenied, nil)
