package sessions

import "context"

type Service struct{}
type Watch struct{}

func New(Options) *Service                                              { return nil }
func (s *Service) Start()                                               {}
func (s *Service) Close(ctx context.Context) error                      { return nil }
func (s *Service) SetTunables(t Tunables)                               {}
func (s *Service) Route(id string) (*Route, bool)                       { return nil, false }
func (s *Service) Lookup(ctx context.Context, id string) (View, error)  { return View{}, nil }
func (s *Service) Wake(ctx context.Context, id string) (View, error)    { return View{}, nil }
func (s *Service) WakeNow(ctx context.Context, id string) (View, error) { return View{}, nil }
func (s *Service) Wait(ctx context.Context, id string) (View, error)    { return View{}, nil }
func (s *Service) Watch(id string) *Watch                               { return nil }
func (w *Watch) C() <-chan struct{}                                     { return nil }
func (w *Watch) View() View                                             { return View{} }
func (w *Watch) Close()                                                 {}
func (s *Service) Lost(route *Route, cause error)                       {}

// CreateRequest asks for a session.
type CreateRequest struct {
	ClientID    string
	UserID      string
	ThreadID    string
	Instruction string
	Wake        bool
}

func (s *Service) Create(ctx context.Context, req CreateRequest) (r Record, created bool, err error) {
	return
}
func (s *Service) Get(ctx context.Context, id string) (Record, error) { return Record{}, nil }
func (s *Service) List(ctx context.Context, clientID, after string, limit int) ([]Record, error) {
	return nil, nil
}
func (s *Service) Running(ctx context.Context, clientID string) ([]Record, error) { return nil, nil }
func (s *Service) Sleep(ctx context.Context, id, reason string) error             { return nil }
func (s *Service) Delete(ctx context.Context, id string) error                    { return nil }
