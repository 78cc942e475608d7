package acl_test

import (
	"net/netip"
	"testing"

	"viaduct/acl"
)

func TestEffectZeroIsDeny(t *testing.T) {
	var e acl.Effect
	if e != acl.Deny || e.String() != "deny" {
		t.Fatalf("zero Effect is %v", e)
	}
	for e, want := range map[acl.Effect]string{acl.Allow: "allow", acl.Observe: "observe", 77: "deny"} {
		if got := e.String(); got != want {
			t.Errorf("Effect(%d) = %q, want %q", e, got, want)
		}
	}
}

// machine is a machine with these addresses.
func machine(addrs ...string) func() ([]netip.Addr, error) {
	var list []netip.Addr
	for _, s := range addrs {
		list = append(list, netip.MustParseAddr(s))
	}
	return func() ([]netip.Addr, error) { return list, nil }
}

func own(addrs ...string) (list []netip.AddrPort) {
	for _, s := range addrs {
		list = append(list, netip.MustParseAddrPort(s))
	}
	return list
}
