package door

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/coreos/go-systemd/v22/activation"
)

// Inherit takes the sockets over that systemd has opened for this process
// (sd_listen_fds(3)).
func Inherit() ([]*Listener, error) {
	var list []*Listener
	for _, f := range activation.Files(true) {
		socket, err := net.FileListener(f)
		_ = f.Close()
		if err != nil {
			closeAll(list)
			return nil, fmt.Errorf("socket %s of systemd: %w", f.Name(), err)
		}
		tcp, ok := socket.(*net.TCPListener)
		if !ok {
			_ = socket.Close()
			closeAll(list)
			return nil, fmt.Errorf("socket %s of systemd is no listening TCP socket: use ListenStream= with an address", f.Name())
		}
		list = append(list, &Listener{tcp: tcp})
	}
	return list, nil
}

func closeAll(list []*Listener) {
	for _, l := range list {
		l.Close()
	}
}

// Claim takes the listener for an address out of a list; nil when there is none.
func Claim(list *[]*Listener, addr string) (*Listener, error) {
	if len(*list) == 0 {
		return nil, nil
	}
	want, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, err
	}
	for i, l := range *list {
		if !same(want.AddrPort(), l.Addr()) {
			continue
		}
		*list = append((*list)[:i:i], (*list)[i+1:]...)
		raw, err := l.tcp.SyscallConn()
		if err == nil {
			err = setProbes("", "", raw)
		}
		return l, err
	}
	return nil, nil
}

// same tells whether two addresses to listen on are the same one. No host at all
// is [::], which is what systemd makes of a port alone, too.
func same(a, b netip.AddrPort) bool {
	plain := func(ip netip.Addr) netip.Addr {
		if !ip.IsValid() {
			return netip.IPv6Unspecified()
		}
		return ip.Unmap()
	}
	return a.Port() == b.Port() && plain(a.Addr()) == plain(b.Addr())
}
