package ecs

import (
	"net"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// envEpoch is where a task's epoch stands among its overrides. containerboot takes no
// notice. It is not in a tag, as ECS deletes the tags of a task that is stopped.
const envEpoch = "WEBORDINARY_EPOCH"

// order is the order of a task's states, in which it only goes forward.
var order = map[string]int{
	"PROVISIONING": 1, "PENDING": 2, "ACTIVATING": 3, "RUNNING": 4,
	"DEACTIVATING": 5, "STOPPING": 6, "DEPROVISIONING": 7, "STOPPED": 8, "DELETED": 9,
}

// task is what is known of an ECS task.
type task struct {
	arn       string
	sessionID string // "" for one that is none of this deployment's
	epoch     int64
	tokenHash string
	address   string // "" until known
	status    string // lastStatus
	ending    bool   // it was told to end, or has
	why       string // why it ends or ended, in words
	seen      time.Time
}

func (t task) ours() bool  { return t.sessionID != "" }
func (t task) ended() bool { return order[t.status] >= order["STOPPED"] }

// container is the task as a runner's users see it.
func (t task) container() sessions.Container {
	c := sessions.Container{Ref: t.arn, SessionID: t.sessionID, Epoch: t.epoch, Running: !t.ended()}
	switch {
	case t.ended():
		c.Reason = t.why
	case t.ending:
		c.Ending = true
		c.Address, c.Reason = t.address, "it is ending: "+t.why
	default:
		c.Address, c.Reason = t.address, notYet[t.status]
	}
	return c
}

// newTask reads a task of the API.
func newTask(t types.Task, startedBy string, now time.Time) task {
	known := task{
		arn: aws.ToString(t.TaskArn), status: aws.ToString(t.LastStatus), seen: now,
		ending: aws.ToString(t.DesiredStatus) == "STOPPED",
	}
	if aws.ToString(t.StartedBy) != startedBy || t.Overrides == nil {
		return known
	}
	var port string
	for _, c := range t.Overrides.ContainerOverrides {
		for _, v := range c.Environment {
			switch aws.ToString(v.Name) {
			case bootapi.EnvSessionID:
				known.sessionID = aws.ToString(v.Value)
			case bootapi.EnvTokenHash:
				known.tokenHash = aws.ToString(v.Value)
			case bootapi.EnvPort:
				port = aws.ToString(v.Value)
			case envEpoch:
				known.epoch, _ = strconv.ParseInt(aws.ToString(v.Value), 10, 64)
			}
		}
	}
	if known.epoch < 1 {
		known.sessionID = "" // by somebody else of the same name
	}
	if ip := privateAddress(t); ip != "" && port != "" {
		known.address = net.JoinHostPort(ip, port)
	}
	if known.ending || known.ended() {
		known.why = whyEnded(t)
	}
	return known
}

// privateAddress is that of the task's network interface, "" until it has one.
func privateAddress(t types.Task) string {
	for _, a := range t.Attachments {
		if aws.ToString(a.Type) != "ElasticNetworkInterface" {
			continue
		}
		for _, d := range a.Details {
			if aws.ToString(d.Name) == "privateIPv4Address" {
				return aws.ToString(d.Value)
			}
		}
	}
	return ""
}

// tasks is what this process knows of the deployment's tasks.
type tasks struct {
	mu      sync.Mutex
	byARN   map[string]task
	session map[string]map[string]struct{} // ARNs by session id
	missing map[string]time.Time           // since when ECS has not known an ARN
}

func newTasks() *tasks {
	return &tasks{byARN: map[string]task{}, session: map[string]map[string]struct{}{}, missing: map[string]time.Time{}}
}

// put takes in what ECS told of a task and returns what is known of it then. News that
// are older than what is known change nothing.
func (k *tasks) put(news task) task {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.missing, news.arn)
	known, ok := k.byARN[news.arn]
	switch {
	case !ok:
		known = news
		if news.ours() {
			if k.session[news.sessionID] == nil {
				k.session[news.sessionID] = map[string]struct{}{}
			}
			k.session[news.sessionID][news.arn] = struct{}{}
		}
	case order[news.status] < order[known.status]:
		known.seen = news.seen
	default:
		known.status, known.seen = news.status, news.seen
		known.ending = known.ending || news.ending
		if news.why != "" {
			known.why = news.why
		}
		if news.address != "" {
			known.address = news.address
		}
	}
	k.byARN[known.arn] = known
	return known
}

// get returns what is known of a task.
func (k *tasks) get(arn string) (task, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.byARN[arn]
	return t, ok
}

// touch takes in that ECS lists a task. It reports whether more is known of it.
func (k *tasks) touch(arn string, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.byARN[arn]
	if ok && !t.ended() {
		t.seen = now
		k.byARN[arn] = t
	}
	return ok
}

// of returns the tasks that are known of a session.
func (k *tasks) of(sessionID string) []task {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]task, 0, len(k.session[sessionID]))
	for arn := range k.session[sessionID] {
		list = append(list, k.byARN[arn])
	}
	return list
}

// running returns this deployment's tasks that are not known to have ended.
func (k *tasks) running() []task {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []task
	for _, t := range k.byARN {
		if t.ours() && !t.ended() {
			list = append(list, t)
		}
	}
	return list
}

// miss takes in that ECS does not know a task at a moment. gone: it has not known it for
// so long that there is none.
func (k *tasks) miss(arn string, now time.Time, t timing) (known task, ok, gone bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	since, again := k.missing[arn]
	if !again {
		since = now
		k.missing[arn] = now
	}
	known, ok = k.byARN[arn]
	grace := t.missingUnknown
	// An ended task is known for an hour: what was seen before that may well be gone.
	if ok && now.Sub(known.seen) < t.keepEnded {
		grace = t.missingKnown
	}
	if now.Sub(since) >= grace {
		k.drop(arn)
		return known, ok, true
	}
	return known, ok, false
}

// forget drops what is known of a session's ended tasks.
func (k *tasks) forget(sessionID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for arn := range k.session[sessionID] {
		if k.byARN[arn].ended() {
			k.drop(arn)
		}
	}
}

// prune drops what nobody will ask for again.
func (k *tasks) prune(now time.Time, keep time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for arn, t := range k.byARN {
		if (t.ended() || !t.ours()) && now.Sub(t.seen) > keep {
			k.drop(arn)
		}
	}
	for arn, since := range k.missing {
		if now.Sub(since) > keep {
			delete(k.missing, arn)
		}
	}
}

// drop removes a task. k.mu is held.
func (k *tasks) drop(arn string) {
	id := k.byARN[arn].sessionID
	delete(k.byARN, arn)
	delete(k.session[id], arn)
	if len(k.session[id]) == 0 {
		delete(k.session, id)
	}
}

var arnPattern = regexp.MustCompile(`^arn:aws[a-z-]*:ecs:([a-z0-9-]+):[0-9]{12}:task/([A-Za-z0-9_-]{1,255})/[0-9a-f]{32}$`)

// isOurs reports whether a reference can be that of a task of this cluster. Any other
// would have ECS refuse the whole call in which it is.
func (r *Runner) isOurs(ref string) bool {
	m := arnPattern.FindStringSubmatch(ref)
	return m != nil && m[1] == r.region && m[2] == r.clusterName()
}
