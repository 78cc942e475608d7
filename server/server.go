// Package server puts the rooms together: it turns what the operator wrote into
// listeners and fronts, runs them, changes them while they run, and ends them in
// good order.
package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"viaduct/accesslog"
	"viaduct/config"
	"viaduct/descriptors"
	"viaduct/door"
	"viaduct/files"
	"viaduct/metrics"
	"viaduct/snapshot"
	"viaduct/watch"
)

// Options are what a Server is made of. Load and Log are required.
type Options struct {
	Load    func() (*config.Config, error) // asked by New, and by each Reload
	File    string                         // that a configuration with watch is reloaded for; may be empty
	Log     *slog.Logger
	Level   *slog.LevelVar // set by the configuration; may be nil
	Version string         // for the metrics
}

// Server is a running instance. New opens everything that can fail; Run serves.
type Server struct {
	o           Options
	log         *slog.Logger
	access      *accesslog.Writer
	metrics     *metrics.Metrics
	current     atomic.Pointer[present]
	staff       *staff
	descriptors descriptors.Limits
	eased       descriptors.Tally // when connections were last given up
	freed       atomic.Int64      // so many, for as many new clients
	ready       atomic.Bool
	taken       atomic.Pointer[files.Version] // of the file, that was loaded last
	failures    chan failure                  // of authentication, to be told
	untold      atomic.Int64                  // of them, that there was no room for
	background  sync.WaitGroup                // goroutines that Run waits for

	changing sync.Mutex // one change at a time; guards inherited and closing

	inherited []*door.Listener // sockets of systemd that no listener has taken
	closing   []*listener      // that have been called last

	state     sync.Mutex // guards what follows, against the end of Run
	running   bool
	asked     bool // a reload was asked for before it ran
	listeners map[string]*listener
	retired   map[*retiree]struct{}
	admin     *adminDoor // nil without one
	watched   watch.Set
	out       *os.File // of the access log, when it is a file
}

// present is the configuration in force, and the listeners that serve it.
type present struct {
	*snapshot.Snapshot
	listeners []*listener
}

// ErrCut says that a drain ended before everything that was under way.
var ErrCut = errors.New("cut at the drain deadline")

// errNotRunning is told to a Reload that comes too early or too late.
var errNotRunning = errors.New("not running")

// New loads the configuration and opens what it names: listeners, the access
// log, the admin address. Its errors are those of Load, or say what could not be
// opened.
func New(o Options) (*Server, error) {
	s := &Server{
		o: o, log: o.Log, access: accesslog.New(nil, accesslog.JSON), metrics: metrics.New(o.Version),
		staff: newStaff(), failures: make(chan failure, failuresHeld), listeners: map[string]*listener{}, retired: map[*retiree]struct{}{},
	}
	var err error
	if s.descriptors, err = descriptors.Read(); err != nil {
		return nil, err
	}
	conf, err := s.load()
	if err != nil {
		return nil, err
	}
	if s.inherited, err = door.Inherit(); err != nil {
		return nil, err
	}
	defer s.closeInherited()
	next, err := s.prepare(conf)
	if err != nil {
		return nil, err
	}
	if len(s.inherited) > 0 {
		next.undo()
		return nil, fmt.Errorf("systemd has passed a socket for %s, where nothing listens: make the socket unit and the configuration agree", s.inherited[0].Addr())
	}
	s.metrics.Read(metrics.Readings{UpstreamIdle: s.upstreamIdle, DNS: s.dns, LogDropped: s.access.Dropped, Lists: s.lists, Certificates: s.certificates, Minted: s.minted, Pools: s.readPools})
	s.metrics.Egress(snapshot.System)
	s.commit(next)
	return s, nil
}

// Reload asks for the configuration again and changes to it, all or nothing:
// whatever is wrong with it leaves everything as it was. Exchanges and tunnels
// under way go on. The access log is opened anew. Before Run it is put off until
// then.
func (s *Server) Reload() error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if !s.mayChange() {
		return errNotRunning
	}
	s.tellSystemd(reloadingState())
	err := s.reload()
	s.metrics.Reloaded(err == nil)
	if err != nil {
		s.tell(err)
	} else {
		now := s.current.Load()
		s.log.Info("configuration is taken", "entries", len(now.Entries), "listeners", len(now.listeners))
	}
	if s.mayChange() {
		s.tellSystemd(readyState)
	}
	return err
}

// mayChange tells whether Run has begun and has not ended.
func (s *Server) mayChange() bool {
	s.state.Lock()
	defer s.state.Unlock()
	s.asked = !s.running
	return s.running
}

// reload holds no lock that the end of Run needs while it reads and opens files:
// those may hang.
func (s *Server) reload() error {
	conf, err := s.load()
	if err != nil {
		return err
	}
	next, err := s.prepare(conf)
	if err != nil {
		return err
	}
	s.state.Lock()
	defer s.state.Unlock()
	if !s.running {
		next.undo()
		return errNotRunning
	}
	s.commit(next)
	return nil
}

// tell logs why a configuration is not taken: a line for each problem.
func (s *Server) tell(err error) {
	const message = "configuration is not taken, the old one stays"
	problems, ok := errors.AsType[config.Problems](err)
	if !ok {
		s.log.Error(message, "error", err)
		return
	}
	for _, p := range problems {
		s.log.Error(message, "error", p.String())
	}
}

// closeInherited closes sockets of systemd that were not asked for.
func (s *Server) closeInherited() {
	for _, l := range s.inherited {
		l.Close()
	}
	s.inherited = nil
}

// own lists the addresses that are listened on.
func own(listeners map[string]*listener, admin *adminDoor) []netip.AddrPort {
	list := make([]netip.AddrPort, 0, len(listeners)+1)
	for _, l := range listeners {
		list = append(list, l.Addr())
	}
	if admin != nil && admin.socket.Addr().IsValid() {
		list = append(list, admin.socket.Addr())
	}
	return list
}

// upstreamIdle is how many idle connections to the far side there are.
func (s *Server) upstreamIdle() (n int) {
	for _, t := range s.current.Load().Transits {
		n += t.Idle.Count()
	}
	return n
}

func (s *Server) certificates() map[string]time.Time { return s.current.Load().Certificates() }

func (s *Server) minted() int { return s.current.Load().Minted() }

func (s *Server) readPools() []metrics.Pool { return s.current.Load().Reading() }

func (s *Server) dns() metrics.DNS { return s.current.Load().DNS() }

func (s *Server) panicked(reason any, stack []byte) {
	s.metrics.Panicked()
	s.log.Error("panic ended a connection", "reason", reason, "stack", string(stack))
}
