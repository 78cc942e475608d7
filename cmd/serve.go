package cmd

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"viaduct/config"
	"viaduct/server"
)

// serve runs what load says until a signal ends it. The file is what it reads, if
// it reads one.
func serve(c *cli.Context, errOut io.Writer, file string, load func() (*config.Config, error)) error {
	signal.Ignore(syscall.SIGPIPE) // a reader of the access log that leaves ends the log, not the proxy
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // from here on: it must not end what is starting
	defer close(hangups)                   // ends reload
	defer signal.Stop(hangups)
	level := new(slog.LevelVar)
	log := slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: level}))
	s, err := server.New(server.Options{Load: load, File: file, Log: log, Level: level, Version: version})
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer close(signals) // ends obey
	defer signal.Stop(signals)
	ctx, stop := context.WithCancel(c.Context)
	hurry, cut := context.WithCancel(c.Context)
	defer cut()
	defer stop()
	go obey(signals, stop, cut)
	go reload(ctx, s, hangups)
	return s.Run(ctx, hurry)
}

// obey is the goroutine that waits for signals: the first one drains, the
// second one ends at once.
func obey(signals <-chan os.Signal, stop, cut context.CancelFunc) {
	<-signals
	stop()
	<-signals
	cut()
}

// reload is the goroutine that waits for SIGHUP. When the server is about to end
// there is nothing left to change.
func reload(ctx context.Context, s *server.Server, hangups <-chan os.Signal) {
	for range hangups {
		if ctx.Err() == nil {
			_ = s.Reload() // it tells by itself what is wrong
		}
	}
}
