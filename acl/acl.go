// Package acl decides who may reach what.
//
// Its first part is the guard: whatever the rules allow by name, the address
// that is really dialled is judged once more, so that no spelling and no DNS
// answer leads into the network behind the proxy, or back to the proxy itself.
package acl

// Effect is what a decision does to a request. Zero is Deny.
type Effect uint8

// The effects.
const (
	Deny    Effect = iota
	Allow          // let pass
	Observe        // let pass, and report it as one that would be denied
)

var effects = [...]string{Deny: "deny", Allow: "allow", Observe: "observe"}

// String is the name in logs and metrics. What is no Effect reads as "deny".
func (e Effect) String() string {
	if int(e) >= len(effects) {
		e = Deny
	}
	return effects[e]
}
