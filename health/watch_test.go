package health_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"viaduct/health"
	"viaduct/lb"
	"viaduct/probe"
	"viaduct/verdict"
)

// TestRealWatch: what a gRPC server says of itself is acted upon long before the
// next check would be due.
func TestRealWatch(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	says, server := grpchealth.NewServer(), grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, says)
	var runs sync.WaitGroup
	runs.Go(func() { _ = server.Serve(l) })
	defer runs.Wait()
	defer server.Stop()

	start := time.Now()
	r := newBed(t, health.Options{}, 0)
	r.o = health.Options{
		Checks: []health.Checker{probe.Check{Kind: probe.GRPC, Watch: true}}, Interval: time.Hour, Fast: 10 * time.Millisecond,
		Now:  func() time.Duration { return time.Since(start) },
		Rand: func() uint64 { return 0 }, // the first check is at once
	}
	r.b = health.New(r.o, r.pool)
	if err := r.pool.Update(r.lo, []lb.Member{{ID: "a", Weight: 1}}, 0); err != nil {
		t.Fatal(err)
	}
	r.b.Update(r.o, []health.Member{{ID: "a", Weight: 1, At: probe.Endpoint{Addr: l.Addr().String()}}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	runs.Go(func() { r.b.Run(ctx) })
	for _, c := range []struct {
		says grpc_health_v1.HealthCheckResponse_ServingStatus
		want verdict.Active
	}{
		{grpc_health_v1.HealthCheckResponse_SERVING, verdict.Up},
		{grpc_health_v1.HealthCheckResponse_NOT_SERVING, verdict.Down},
		{grpc_health_v1.HealthCheckResponse_SERVING, verdict.Up},
	} {
		says.SetServingStatus("", c.says)
		if !eventually(func() bool { return r.facts("a").Active == c.want }) {
			t.Fatalf("%s: %+v", c.says, r.b.Ledger("a"))
		}
	}
	server.Stop()
	if !eventually(func() bool { return r.facts("a").Active == verdict.Down }) {
		t.Errorf("the server is gone: %+v", r.b.Ledger("a"))
	}
}
