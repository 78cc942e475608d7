package auth_test

import (
	"context"
	"strings"
	"testing"

	"viaduct/auth"
)

func TestVerifiedAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	u := users(t, "joe:"+plus, "ci: joe")
	g := auth.NewGate(auth.Options{Verifier: u})
	wantTry(t, g, "192.0.2.1", field("joe", "correct horse"), "joe")
	ctx, client := context.Background(), addr("2001:db8::1")
	for name, in := range map[string][]byte{
		"verified":       field("joe", "correct horse"),
		"missing":        nil,
		"another scheme": []byte("Negotiate " + strings.Repeat("x", 4000)),
		"malformed":      []byte("Basic"),
		"not base64":     []byte("Basic ????"),
	} {
		if n := testing.AllocsPerRun(1000, func() { _, _ = g.Admit(ctx, client, in) }); n != 0 && name != "not base64" {
			t.Errorf("%s: %v allocations", name, n)
		}
		if n := testing.AllocsPerRun(1000, func() { _, _ = g.Recall(client, in) }); n != 0 {
			t.Errorf("recall of %s: %v allocations", name, n)
		}
	}
}

func BenchmarkAdmitVerified(b *testing.B) {
	g := auth.NewGate(auth.Options{Verifier: users(b, "joe:"+plus, "")})
	ctx, client, in := context.Background(), addr("192.0.2.1"), field("joe", "correct horse")
	if _, err := g.Admit(ctx, client, in); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Admit(ctx, client, in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAdmitVerifiedParallel(b *testing.B) {
	g := auth.NewGate(auth.Options{Verifier: users(b, "joe:"+plus, "")})
	ctx, client, in := context.Background(), addr("192.0.2.1"), field("joe", "correct horse")
	if _, err := g.Admit(ctx, client, in); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _ = g.Admit(ctx, client, in)
		}
	})
}

// What a flood costs that is throttled.
func BenchmarkAdmitThrottled(b *testing.B) {
	g := auth.NewGate(auth.Options{Verifier: users(b, "joe:"+plus, "")})
	ctx, client, in := context.Background(), addr("192.0.2.1"), field("joe", "guess")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = g.Admit(ctx, client, in)
	}
}
