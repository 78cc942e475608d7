// Package server puts the rooms together: it turns what the operator wrote into
// listeners and fronts, runs them, and ends them in good order.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"viaduct/accesslog"
	"viaduct/acl"
	"viaduct/exchange"
	"viaduct/forward"
	"viaduct/hop"
	"viaduct/relay"
	"viaduct/upstream"
)

// Forward is what an operator says of a forward proxy.
type Forward struct {
	Listen       []string // host:port, or http://host:port
	Open         bool
	AllowPrivate bool
	ConnectPorts []uint16 // nil: any port
	Anonymity    hop.Anonymity
	AccessLog    string // path, "-" for standard output, "off"
	MaxHeader    int

	HeaderTimeout, BodyTimeout, DialTimeout, ResponseTimeout time.Duration
	IdleTimeout, UpstreamIdleTimeout                         time.Duration
	TunnelIdleTimeout, HalfCloseTimeout                      time.Duration
	DrainTimeout, DrainGrace                                 time.Duration
}

// Server is a running instance. New opens everything that can fail; Run serves.
type Server struct {
	conf      Forward
	log       *slog.Logger
	access    *accesslog.Writer
	out       *os.File // of the access log, when it is a file
	listeners []*net.TCPListener
	proxy     *forward.Proxy
	pool      *upstream.Pool
	tunnels   relay.Set
	draining  atomic.Bool

	ready   chan net.Conn // connections for goroutines that wait for one
	spare   atomic.Int32  // so many of them
	stopped chan struct{}
	serving sync.WaitGroup
	clients struct {
		sync.Mutex                               // guards all
		all        map[*forward.Client]time.Time // since when
	}
}

// UsageError is a mistake of the operator, in words that say what to do.
type UsageError string

func (e UsageError) Error() string { return string(e) }

// ErrCut says that a drain ended before everything that was under way.
var ErrCut = errors.New("cut at the drain deadline")

// New checks the options and opens the listeners and the access log. A
// UsageError says what to change; any other error that something could not be
// opened.
func New(conf Forward, log *slog.Logger) (*Server, error) {
	s := &Server{conf: conf, log: log, ready: make(chan net.Conn), stopped: make(chan struct{})}
	s.clients.all = map[*forward.Client]time.Time{}
	addrs := make([]string, 0, len(conf.Listen))
	for _, l := range conf.Listen {
		a, err := listenAddr(l, conf.Open)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, a)
	}
	if err := s.openLog(); err != nil {
		return nil, err
	}
	for _, a := range addrs {
		l, err := listen(a)
		if err != nil {
			s.closeListeners()
			s.closeLog()
			return nil, err
		}
		s.listeners = append(s.listeners, l)
	}
	s.build()
	return s, nil
}

// listenAddr reads one value of --listen, and refuses to open a proxy to the
// world by accident.
func listenAddr(l string, open bool) (string, error) {
	addr := l
	if scheme, rest, ok := strings.Cut(l, "://"); ok {
		if scheme != "http" {
			return "", UsageError(fmt.Sprintf("--listen %s: only http:// and host:port are served", l))
		}
		addr = strings.TrimSuffix(rest, "/")
	}
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "", UsageError(fmt.Sprintf("--listen %s: write host:port with a port up to 65535, such as 127.0.0.1:3128", l))
	}
	ip, err := netip.ParseAddr(host)
	local := host == "localhost" || err == nil && ip.IsLoopback()
	if !local && !open {
		return "", UsageError(fmt.Sprintf("--listen %s would let anyone who reaches this address use the proxy: "+
			"listen on a loopback address, or add --open if that is what you want", l))
	}
	return addr, nil
}

// Keep-alive probes find a client that vanished within half a minute. They are
// set on the listening socket, from which Linux passes them on to each
// connection: that costs no system call per connection.
const (
	probeIdle  = 15
	probeEvery = 5
	probeCount = 3
)

func listen(addr string) (*net.TCPListener, error) {
	lc := net.ListenConfig{KeepAlive: -1, Control: setProbes}
	lc.SetMultipathTCP(false) // its accept costs more, and no peer speaks it
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

func setProbes(_, _ string, c syscall.RawConn) error {
	var err error
	set := func(fd uintptr) {
		err = errors.Join(
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1),
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, probeIdle),
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, probeEvery),
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, probeCount),
		)
	}
	if e := c.Control(set); e != nil {
		return e
	}
	return err
}

func (s *Server) openLog() error {
	switch s.conf.AccessLog {
	case "off", "":
	case "-":
		s.access = accesslog.New(os.Stdout)
	default:
		f, err := os.OpenFile(s.conf.AccessLog, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
		if err != nil {
			return fmt.Errorf("open access log: %w", err)
		}
		s.out = f
		s.access = accesslog.New(f)
	}
	return nil
}

// build makes the front from the options.
func (s *Server) build() {
	c := &s.conf
	guard := acl.NewGuard(acl.GuardOptions{AllowPrivate: c.AllowPrivate, Own: s.own(), LocalAddrs: localAddrs})
	s.pool = upstream.NewPool(upstream.Options{IdleTimeout: c.UpstreamIdleTimeout, MaxHeader: c.MaxHeader})
	s.proxy = forward.New(forward.Options{
		Exchange: &exchange.Options{
			Mode: "forward", Anonymity: c.Anonymity, MaxHeader: c.MaxHeader,
			HeaderTimeout: c.HeaderTimeout, BodyTimeout: c.BodyTimeout, DialTimeout: c.DialTimeout,
			ResponseTimeout: c.ResponseTimeout, IdleTimeout: c.IdleTimeout,
			Tunnel:  relay.Options{Idle: c.TunnelIdleTimeout, HalfClose: c.HalfCloseTimeout},
			Tunnels: &s.tunnels, Log: s.access, Draining: &s.draining, Panicked: s.panicked,
		},
		Dialer: &upstream.Dialer{Lookup: upstream.SystemLookup, Guard: guard},
		Pool:   s.pool, Open: c.Open, AnyPort: c.ConnectPorts == nil, ConnectPorts: c.ConnectPorts,
	})
}

// own lists the addresses that are listened on.
func (s *Server) own() []netip.AddrPort {
	list := make([]netip.AddrPort, 0, len(s.listeners))
	for _, l := range s.listeners {
		list = append(list, l.Addr().(*net.TCPAddr).AddrPort())
	}
	return list
}

// localAddrs lists the addresses of this machine.
func localAddrs() ([]netip.Addr, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	list := make([]netip.Addr, 0, len(addrs))
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				list = append(list, ip.Unmap())
			}
		}
	}
	return list, nil
}

func (s *Server) panicked(reason any, stack []byte) {
	s.log.Error("panic ended a connection", "reason", reason, "stack", string(stack))
}
