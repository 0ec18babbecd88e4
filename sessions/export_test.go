package sessions

import (
	"context"
	"net"
	"time"
)

// Remembered is how many unknown ids a service remembers.
func Remembered(s *Service) int {
	s.unknown.mu.Lock()
	defer s.unknown.mu.Unlock()
	return len(s.unknown.until)
}

// Live is of how many sessions a service holds anything.
func Live(s *Service) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.live)
}

// Flights is how many look-ups wait for the registry, or for their turn.
func Flights(s *Service) int {
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	return len(s.flights.byKey)
}

// MaxFlights is how many look-ups the registry gets at once.
const MaxFlights = maxFlights

// SetFlightPatience sets how long a look-up that begins from now on waits for its turn.
func SetFlightPatience(s *Service, d time.Duration) { s.flights.patience.Store(int64(d)) }

// SetLostPatience sets how long a container that runs may fail to answer. Not after Start.
func SetLostPatience(s *Service, d time.Duration) { s.lostPatience = d }

// SweepRecords is a part of what a service does several times in a lease's length.
func SweepRecords(s *Service) { s.sweepRecords() }

// FillAsking takes all places of containers that are asked at once.
func FillAsking(s *Service) {
	for range maxAsking {
		s.asking <- struct{}{}
	}
}

// FillRoutes gives a service routes, and returns the ids of their sessions.
func FillRoutes(s *Service, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = NewID()
		s.routes.set(&Route{SessionID: ids[i]})
	}
	return ids
}

// SetDial sets how a service reaches its containers. Not after Start.
func SetDial(s *Service, dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	s.containers.dial = dial
}

// Routes is how many sessions have a route.
func Routes(s *Service) int { return len(s.routes.all()) }
