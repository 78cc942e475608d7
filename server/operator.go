package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"viaduct/admin"
	"viaduct/config"
	"viaduct/door"
	"viaduct/forward"
)

// adminDoor is the operator's address: a socket, and what answers there.
type adminDoor struct {
	at      string // as configured
	socket  adminSocket
	handler atomic.Pointer[admin.Admin]
	server  *http.Server
	done    chan struct{} // closed when it serves no more; nil before start
}

// adminSocket is where an operator comes in: an address, or a path.
type adminSocket struct {
	net.Listener
	addr netip.AddrPort // not valid for a path
	name string         // for the log
}

// Addr is the address that it listens on; it is not valid for a path.
func (a adminSocket) Addr() netip.AddrPort { return a.addr }

// Close lets nobody in any more.
func (a adminSocket) Close() { _ = a.Listener.Close() }

// ServeHTTP answers by the handler of the moment.
func (a *adminDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.handler.Load().ServeHTTP(w, r)
}

// openAdmin keeps the admin address that is there, or opens one, and makes what
// is to answer there.
func (s *Server) openAdmin(c *change, conf *config.Admin) error {
	if conf.Listen == "" {
		return nil
	}
	token, err := admin.ReadToken(conf.TokenFile)
	if err != nil {
		return err
	}
	c.handler = admin.New(admin.Options{
		Token: token, Hosts: conf.Hosts, Ready: s.isReady, Metrics: s.metrics, Log: s.log,
		Explain: func(q admin.ExplainQuery) (any, error) { return s.Explain(forward.Question(q)) },
		Status:  func() any { return s.Status() },
	})
	if s.admin != nil && s.admin.at == conf.Listen {
		c.admin = s.admin
		return nil
	}
	socket, err := s.listenAdmin(conf.Listen)
	if err != nil {
		return err
	}
	c.admin, c.newAdmin = &adminDoor{at: conf.Listen, socket: socket}, true
	c.admin.server = admin.Server(c.admin, s.log)
	return nil
}

// listenAdmin opens an address, or a path.
func (s *Server) listenAdmin(at string) (adminSocket, error) {
	if path, ok := config.UnixPath(at); ok {
		l, err := door.OpenLocal(path)
		if err != nil {
			return adminSocket{}, err
		}
		return adminSocket{Listener: l, name: at}, nil
	}
	l, err := s.listen(at)
	if err != nil {
		return adminSocket{}, err
	}
	return adminSocket{Listener: l.Socket(), addr: l.Addr(), name: l.Addr().String()}, nil
}

var errNotReady = errors.New("draining, or not started yet")

func (s *Server) isReady() error {
	if s.ready.Load() {
		return nil
	}
	return errNotReady
}

// changeAdmin has the admin address answer as the configuration says.
func (s *Server) changeAdmin(c *change) {
	old := s.admin
	s.admin = c.admin
	if s.admin != nil {
		s.admin.handler.Store(c.handler)
		if c.newAdmin && s.running {
			s.admin.start(s.log)
		}
	}
	if old != nil && old != s.admin {
		old.socket.Close() // at once: the next change may want it back
		s.background.Add(1)
		go s.leaveAdmin(old)
	}
}

// start begins to answer.
func (a *adminDoor) start(log *slog.Logger) {
	if a == nil {
		return
	}
	log.Info("admin listening", "admin", a.socket.name)
	a.done = make(chan struct{})
	go a.serve()
}

// serve is the goroutine of the admin address.
func (a *adminDoor) serve() {
	defer close(a.done)
	_ = a.server.Serve(a.socket.Listener) // it ends by Shutdown
}

// leaveAdmin closes an admin address that is not wanted any more.
func (s *Server) leaveAdmin(a *adminDoor) {
	defer s.background.Done()
	a.end(context.Background())
}

// end lets answers that are on their way arrive.
func (a *adminDoor) end(hurry context.Context) {
	if a == nil || a.done == nil {
		return
	}
	ctx, cancel := context.WithTimeout(hurry, 2*time.Second)
	defer cancel()
	if a.server.Shutdown(ctx) != nil {
		_ = a.server.Close()
	}
	<-a.done
}
