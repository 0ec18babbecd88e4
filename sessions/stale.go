package sessions

import (
	"sync"
	"time"
)

// staleEvery is how often an edge looks whether its routes still lead anywhere, where
// other edges put sessions to sleep.
const staleEvery = 5 * time.Minute

// staleLoop drops the routes of sessions that another edge has put to sleep, or deleted,
// and that nobody has asked for here since: who asks finds out at once. The containers
// are asked, and the registry only about those that do not answer.
func (s *Service) staleLoop() {
	if s.exclusive {
		return
	}
	for sleep(s.ctx, jitter(staleEvery)) == nil {
		places := make(chan struct{}, maxAsking)
		var asking sync.WaitGroup
		for _, id := range s.routes.all() {
			places <- struct{}{}
			asking.Go(func() {
				defer func() { <-places }()
				s.dropStale(id)
			})
		}
		asking.Wait()
	}
}

// dropStale drops a session's route if its record says that it leads nowhere.
func (s *Service) dropStale(id string) {
	e, ok := s.holdKnown(id)
	if !ok {
		return
	}
	defer s.release(e)
	e.mu.Lock()
	route, idle := e.route, e.routed && e.op == nil
	e.mu.Unlock()
	if !idle || s.containers.serves(s.ctx, route.Address, Token(route.Token)) == nil {
		return
	}
	r, err := s.get(s.ctx, id)
	switch {
	case err == nil:
		s.learn(r)
	case isNotFound(err):
		e.gone()
		s.dropRoute(e, route)
	}
}
