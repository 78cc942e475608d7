package acl

import (
	"net"
	"net/netip"
)

// InterfaceAddrs lists the addresses of this machine's interfaces, without
// zones. It is the one place of this room that asks the system.
func InterfaceAddrs() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.Addr, 0, len(list))
	for _, a := range list {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if ip, ok := netip.AddrFromSlice(n.IP); ok {
			addrs = append(addrs, ip.Unmap())
		}
	}
	return addrs, nil
}
