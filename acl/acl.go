// Package acl decides who may reach what.
//
// A policy is rules in the order in which the operator wrote them, the first of
// which decides: by name before anything is looked up, and by the address that
// is dialled, where the guard is asked as well unless a rule lifts it.
//
// The package does no I/O. What Compile and ParseNames return may be used by any
// number of goroutines at once.
package acl

import (
	"fmt"
	"net/netip"
	"time"

	"viaduct/fault"
	"viaduct/guard"
)

// Effect is what a decision does to a request. Zero is Deny.
type Effect uint8

// The effects.
const (
	Deny    Effect = iota
	Allow          // let pass
	Observe        // let pass, and report it as one that would be denied
	effectCount
)

var effects = [effectCount]string{Deny: "deny", Allow: "allow", Observe: "observe"}

// String is the name in logs and metrics. What is no Effect reads as "deny".
func (e Effect) String() string {
	if e >= effectCount {
		e = Deny
	}
	return effects[e]
}

// Rule is one line of a policy as the operator wrote it. All its terms must
// hold; a term that is nil always does.
type Rule struct {
	Name   string // what logs and clients are told; never empty
	Effect Effect // Deny or Allow
	Report bool   // of a deny: tell what it would deny, and go on as if it were not there

	User, Group, Client, Host, Addr, Port, Method, Path, Time []string

	HostLists []*Names // more values of Host; an empty list holds for no host
}

// RuleError says what is wrong with a rule.
type RuleError struct {
	Rule  int    // its index
	Field string // one of Fields, or "" for the rule as a whole
	Value int    // index in the field, or -1 for the field as a whole
	Text  string // what is wrong and what to do
}

func (e *RuleError) Error() string {
	switch {
	case e.Field == "":
		return fmt.Sprintf("rule %d: %s", e.Rule, e.Text)
	case e.Value < 0:
		return fmt.Sprintf("rule %d: %s: %s", e.Rule, e.Field, e.Text)
	}
	return fmt.Sprintf("rule %d: %s, value %d: %s", e.Rule, e.Field, e.Value, e.Text)
}

// Options make a Policy of rules.
type Options struct {
	// ReportOnly lets pass what the rules deny, and tells it. The guard and own
	// addresses stay closed.
	ReportOnly bool
	// Guard judges the address that is dialled. Nil refuses none.
	Guard *guard.Guard
}

// Query is what a request asks for.
type Query struct {
	Client netip.Addr // invalid on a unix socket: no client= term names it
	User   string     // "" when nobody authenticated: no user= term names it
	Groups []string
	Method string
	Host   string // normal form of package hop: lower-case A-labels without a final dot, or an address without brackets
	Port   uint16
	Path   []byte    // origin-form with its query; nil for CONNECT, and taken for "/" with any other method
	Now    time.Time // in the zone of the operator; needed only where Policy.Timed
}

// Decision is what a policy says of a query.
type Decision struct {
	Effect Effect // Deny, Allow or Observe
	// Rule is the name of the rule that decided: "default" for the last word
	// when it denies, "guard" and "own_address" for the guard, "" where nothing
	// had to decide.
	Rule    string
	Index   int          // of the rule in the list; len(rules) for the last word when it denies; -1 for anything else
	Pending bool         // by name only: a rule with addr= may still decide, ask DecideAddr
	Fault   *fault.Error // of Deny: what the client is told; a shared value
}

// Step says of one rule, for people, how it stands to a query.
type Step struct {
	Rule   string // its name
	Effect string // "allow", "deny" or "report"
	Result string // "matches", "host is not in .example.com", ...
}
