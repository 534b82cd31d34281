// SPDX-License-Identifier: Apache-2.0
// The first half of an enrollment: from a request to a durable PENDING record, with the hardware
// key in the making while the person is still in the browser.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/crash_point.h"
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "daemon/enrollment/enrollment_core.h"
#include "daemon/enrollment/stray_keys.h"
#include "daemon/jose/jwk.h"

namespace smartkey {

namespace {

constexpr absl::Duration kEnrollmentLifetime = absl::Minutes(10);
constexpr absl::Duration kKeyCreationLimit = absl::Minutes(5);
constexpr int kMostNamesTried = 50;

using Phase = PendingEnrollment::Phase;

// Whether there is one of that app at that server among the caller's own. One that is only begun
// is none yet.
bool HasOneAlready(const std::vector<RegistrationStore::Snapshot>& own,
                   const EnrollmentPlan& plan) {
  return std::any_of(own.begin(), own.end(), [&](const RegistrationStore::Snapshot& one) {
    const GenerationState state = one->state();
    return one->app_id == plan.app_id && one->fhir_base == plan.server.fhir_base &&
           state != GenerationState::kPending && state != GenerationState::kRegistering &&
           state != GenerationState::kDeleting;
  });
}

// What a renewal takes over from the registration, so that the request need not say it.
absl::Status TakeOver(const Registration& renewed, const Catalog& catalog,
                      EnrollmentRequest& request) {
  if (renewed.suspension.has_value()) {
    return MakeError(Reason::kSuspended, "the registration is suspended: resume it first");
  }
  const GenerationState state = renewed.state();
  if (state == GenerationState::kPending || state == GenerationState::kRegistering ||
      state == GenerationState::kVerifying || state == GenerationState::kDeleting) {
    return MakeError(Reason::kNotReady,
                     "there is nothing to renew: the enrollment itself is under way, or "
                     "the registration is being deleted");
  }
  if (absl::Status removed = catalog.CheckServerOf(renewed); !removed.ok()) return removed;
  request.app_id = renewed.app_id;
  request.server_name = catalog.FindServerOf(renewed)->name;  // it may have been renamed
  request.fhir_base.clear();
  request.name = renewed.name;
  request.label = renewed.label;
  request.context_varies = renewed.context_varies;
  // What was granted, so that a renewal asks for no more by itself.
  const Generation* serving = renewed.serving();
  if (request.scopes.empty() && serving != nullptr) {
    request.scopes = ParseScope(serving->granted_scope);
    std::erase_if(request.scopes, [](const std::string& scope) {
      return absl::EqualsIgnoreCase(scope, kRegisterScope);
    });
  }
  return absl::OkStatus();
}

}  // namespace

void EnrollmentManager::Core::Begin(const Caller& caller, EnrollmentRequest request,
                                    BeginDone done) {
  if (absl::Status status = parts_.access.CheckEnroll(caller); !status.ok()) return done(status);
  absl::optional<absl::StatusOr<BegunEnrollment>> earlier;
  {
    MutexLock lock(mu_);
    if (const Pending found = FindRequest(caller, request.request_id); found != nullptr) {
      // Another thread writes `begun` until the preparation has ended.
      if (found->phase == Phase::kPreparing) {
        earlier = MakeError(Reason::kNotReady, "the same request is being prepared already");
      } else if (found->begun.authorization_url.empty()) {
        earlier = MakeError(Reason::kInvalidArgument,
                            "this request_id belongs to an enrollment with an initial token");
      } else {
        earlier = found->begun;
      }
    }
  }
  if (earlier.has_value()) return done(*std::move(earlier));
  Prepare(caller, std::move(request), /*with_browser=*/true,
          [core = shared_from_this(),
           done = std::move(done)](absl::StatusOr<Pending> prepared) mutable {
            if (!prepared.ok()) return done(prepared.status());
            const Pending& pending = *prepared;
            const Scheduler::TaskId expiry = core->parts_.scheduler.RunAfter(
                kEnrollmentLifetime, [weak = std::weak_ptr<Core>(core), pending] {
                  const std::shared_ptr<Core> core = weak.lock();
                  if (core == nullptr) return;
                  {
                    MutexLock lock(core->mu_);
                    if (pending->phase != Phase::kWaiting) return;
                    pending->phase = Phase::kRunning;
                  }
                  core->Abandon(pending, MakeError(Reason::kEnrollmentExpired,
                                                   "nobody finished the login within 10 minutes"));
                });
            {
              MutexLock lock(core->mu_);
              pending->expiry = expiry;
              if (pending->phase == Phase::kPreparing) pending->phase = Phase::kWaiting;
            }
            core->MakeKey(pending);
            done(pending->begun);
          });
}

void EnrollmentManager::Core::Prepare(const Caller& caller, EnrollmentRequest request,
                                      bool with_browser, PrepareDone done) {
  if (absl::Status status = parts_.access.CheckEnroll(caller); !status.ok()) return done(status);
  if (parts_.keys.status().known) {
    return PrepareOnHardware(caller, std::move(request), with_browser, std::move(done));
  }
  // The daemon has just been started and opens its hardware; any operation waits for the end of it.
  parts_.keys.ListKeys([core = shared_from_this(), caller, request = std::move(request),
                        with_browser,
                        done = std::move(done)](absl::StatusOr<KeyInventory> listed) mutable {
    if (!core->parts_.keys.status().known) return done(listed.status());
    core->PrepareOnHardware(caller, std::move(request), with_browser, std::move(done));
  });
}

void EnrollmentManager::Core::PrepareOnHardware(const Caller& caller, EnrollmentRequest request,
                                                bool with_browser, PrepareDone done) {
  const std::shared_ptr<const Catalog> catalog = parts_.catalog.Get();
  RegistrationStore::Snapshot renewed;
  if (request.new_patient && request.renews.empty()) {
    return done(MakeError(Reason::kInvalidArgument,
                          "a new patient is for a renewal: any enrollment may be for any patient"));
  }
  if (!request.renews.empty()) {
    absl::StatusOr<RegistrationStore::Snapshot> found =
        parts_.access.Find(caller, request.renews, Operation::kManage);
    if (!found.ok()) return done(found.status());
    renewed = *std::move(found);
    if (request.new_patient &&
        parts_.access.RightTo(caller, *renewed).relation != Right::Relation::kOwner) {
      return done(parts_.access.Noted(
          MakeError(Reason::kNotPermitted, "whose record it is about is its owner's to say"),
          caller, OperationName(Operation::kManage), renewed->id));
    }
    if (absl::Status taken = TakeOver(*renewed, *catalog, request); !taken.ok()) {
      return done(taken);
    }
  }
  absl::StatusOr<EnrollmentPlan> plan = PlanEnrollment(*catalog, request, with_browser);
  if (!plan.ok()) return done(plan.status());
  if (renewed == nullptr) {
    const absl::Status allowed = parts_.access.CheckEnroll(caller, plan->server.name, plan->app_id);
    if (!allowed.ok()) return done(allowed);
  }

  const ProviderStatus hardware = parts_.keys.status();
  if (hardware.state != ProviderState::kReady || !hardware.capabilities.has_value()) {
    return done(hardware.last_error.ok()
                    ? MakeError(Reason::kHardwareAbsent, "the key hardware is not ready")
                    : Annotate(hardware.last_error, "the key hardware is not ready"));
  }

  auto pending = std::make_shared<PendingEnrollment>();
  pending->id = RandomId();
  pending->uid = caller.uid;
  pending->begun_by = caller;
  pending->request_id = request.request_id;
  pending->context_varies = request.context_varies;
  pending->renewal = renewed != nullptr;
  pending->new_patient = request.new_patient;
  if (!pending->renewal && HasOneAlready(parts_.access.ListOwn(caller), *plan)) {
    pending->begun.warnings.push_back(RegistrationWarning::kSameAppSameServer);
  }
  pending->plan = *std::move(plan);
  pending->registration_id = renewed != nullptr ? renewed->id : RandomId();
  pending->generation = renewed != nullptr ? renewed->newest().number + 1 : 1;
  // Takes its place in the quota before anything costly is done.
  if (absl::Status status = Admit(pending); !status.ok()) return done(status);

  // Whatever ends the preparation early gives the place back.
  PrepareDone finish = [core = shared_from_this(), pending,
                        done = std::move(done)](absl::StatusOr<Pending> prepared) mutable {
    if (!prepared.ok()) {
      MutexLock lock(core->mu_);
      core->pending_.erase(pending->id);
    }
    done(std::move(prepared));
  };

  const Server& server = pending->plan.server;
  discovery_.Discover(
      server, pending->plan.initial_client_id,
      [core = shared_from_this(), pending, caller, request = std::move(request), with_browser,
       algorithms = hardware.capabilities->algorithms,
       finish = std::move(finish)](absl::StatusOr<ServerEndpoints> endpoints) mutable {
        const Server& server = pending->plan.server;
        if (!endpoints.ok()) {
          return finish(Annotate(endpoints.status(), absl::StrCat("server ", server.name)));
        }
        if (with_browser && endpoints->authorization_endpoint.empty()) {
          return finish(
              MakeError(Reason::kDiscoveryInvalid,
                        absl::StrCat("server ", server.name, " names no authorization endpoint")));
        }
        const absl::StatusOr<SignatureAlgorithm> algorithm = ChooseAlgorithm(
            request.algorithm, algorithms, endpoints->signing_algorithms, server.profile);
        if (!algorithm.ok()) return finish(algorithm.status());
        pending->algorithm = *algorithm;
        pending->endpoints = *std::move(endpoints);

        std::vector<std::string> urls = {pending->endpoints.token_endpoint,
                                         pending->endpoints.registration_endpoint};
        if (with_browser) urls.push_back(pending->endpoints.authorization_endpoint);
        core->ProbeEndpoints(
            std::move(urls), server,
            [core, pending, caller, request = std::move(request), with_browser,
             finish = std::move(finish)](absl::Status reached) mutable {
              if (!reached.ok()) return finish(reached);
              const absl::Time now = core->parts_.clock.Now();
              if (with_browser) {
                pending->pkce = MakePkce();
                pending->state = RandomId();
                AuthorizationRequest authorization;
                authorization.authorization_endpoint = pending->endpoints.authorization_endpoint;
                authorization.client_id = pending->plan.initial_client_id;
                authorization.redirect_uri = pending->plan.redirect_uri;
                authorization.scopes = pending->plan.scopes;
                authorization.state = pending->state;
                authorization.aud = pending->plan.server.fhir_base;
                authorization.code_challenge = pending->pkce.challenge;
                pending->begun.authorization_url = ToUrl(authorization);
              }
              pending->begun.enrollment_id = pending->id;
              pending->begun.registration_id = pending->registration_id;
              pending->begun.redirect_uri = pending->plan.redirect_uri;
              pending->begun.initial_client_id = pending->plan.initial_client_id;
              pending->begun.server_name = pending->plan.server.name;
              pending->begun.authorization_host = HostOf(pending->endpoints.authorization_endpoint);
              pending->begun.token_host = HostOf(pending->endpoints.token_endpoint);
              pending->begun.expires_at = now + kEnrollmentLifetime;
              pending->progress.registration_id = pending->registration_id;
              if (pending->renewal) return core->AddGeneration(pending, std::move(finish));

              Registration registration;
              registration.id = pending->registration_id;
              registration.owner_uid = caller.uid;
              registration.owner_name = caller.user_name;
              registration.app_id = pending->plan.app_id;
              registration.server_name = pending->plan.server.name;
              registration.fhir_base = pending->plan.server.fhir_base;
              registration.ca_file = pending->plan.server.ca_file;
              registration.allow_loopback_http = pending->plan.server.allow_loopback_http;
              registration.name = pending->plan.name;
              registration.label = request.label;
              registration.context_varies = request.context_varies;
              registration.created_at = now;
              registration.generations.push_back(
                  MakePendingGeneration(pending->plan, pending->endpoints, pending->id,
                                        request.request_id, pending->algorithm, 1, now));
              core->InsertRecord(pending, std::move(registration), 1, std::move(finish));
            });
      });
}

void EnrollmentManager::Core::ProbeEndpoints(std::vector<std::string> urls, const Server& server,
                                             absl::AnyInvocable<void(absl::Status)> done) {
  if (urls.empty()) return done(absl::OkStatus());
  const std::string url = urls.back();
  urls.pop_back();
  const std::string host = HostOf(url);
  urls.erase(std::remove_if(urls.begin(), urls.end(),
                            [&](const std::string& other) { return HostOf(other) == host; }),
             urls.end());
  HttpRequest request;
  request.url = url;
  request.ca_file = server.ca_file;
  request.allow_loopback_http = server.allow_loopback_http;
  request.timeout = absl::Seconds(15);
  parts_.http.Probe(std::move(request),
                    [core = shared_from_this(), urls = std::move(urls), server, host,
                     done = std::move(done)](absl::Status reached) mutable {
                      if (!reached.ok()) return done(Annotate(reached, host));
                      core->ProbeEndpoints(std::move(urls), server, std::move(done));
                    });
}

void EnrollmentManager::Core::InsertRecord(Pending pending, Registration registration, int attempt,
                                           PrepareDone done) {
  Registration copy = registration;
  if (attempt > 1) {
    copy.name = Identifying(absl::StrCat(registration.name.RevealIdentifying(), "-", attempt));
  }
  parts_.store.Insert(
      std::move(copy),
      // On the store's thread: of several that are begun at once each sees those before it.
      [core = shared_from_this(), pending] {
        return core->parts_.access.CheckEnroll(pending->begun_by, pending->plan.server.name,
                                               pending->plan.app_id);
      },
      [core = shared_from_this(), pending, registration = std::move(registration), attempt,
       done = std::move(done)](absl::Status inserted) mutable {
        if (inserted.ok()) {
          CrashPoint("enrollment.recorded");
          return done(std::move(pending));
        }
        // A name that nobody chose gives way to one that was there before.
        if (ReasonOf(inserted) == Reason::kNameTaken && !pending->plan.name_was_given &&
            attempt < kMostNamesTried) {
          return core->InsertRecord(pending, std::move(registration), attempt + 1, std::move(done));
        }
        done(inserted);
      });
}

void EnrollmentManager::Core::AddGeneration(Pending pending, PrepareDone done) {
  parts_.store.Update(
      pending->registration_id,
      [core = shared_from_this(), pending,
       now = parts_.clock.Now()](Registration& registration) -> absl::Status {
        if (absl::Status status = core->CheckStillManages(*pending, registration); !status.ok()) {
          return status;
        }
        if (registration.state() == GenerationState::kDeleting) return RegistrationNotFound();
        for (const Generation& one : registration.generations) {
          if (one.number >= pending->generation) {
            return MakeError(Reason::kTooManyEnrollments,
                             "a renewal of this registration is under way already");
          }
        }
        const Server& server = pending->plan.server;
        // Apps send tokens to the registration's FHIR base: another server's must not go there.
        if (registration.fhir_base != server.fhir_base) {
          return MakeError(Reason::kServerRemoved,
                           absl::StrCat("server ", server.name, " has another FHIR base by now"));
        }
        // How it is called and reached now; a CA file may have moved.
        registration.server_name = server.name;
        registration.ca_file = server.ca_file;
        registration.allow_loopback_http = server.allow_loopback_http;
        registration.generations.push_back(MakePendingGeneration(
            pending->plan, pending->endpoints, pending->id, pending->request_id, pending->algorithm,
            pending->generation, now));
        registration.generations.back().accepts_new_patient = pending->new_patient;
        return absl::OkStatus();
      },
      [pending,
       done = std::move(done)](absl::StatusOr<RegistrationStore::Snapshot> updated) mutable {
        if (!updated.ok()) return done(updated.status());
        CrashPoint("renewal.recorded");
        done(std::move(pending));
      });
}

void EnrollmentManager::Core::MakeKey(Pending pending) {
  KeyService::CreateRequest request;
  request.caller = pending->uid;
  request.algorithm = pending->algorithm;
  request.label =
      KeyLabel(parts_.store.instance_id(), pending->registration_id, pending->generation);
  request.deadline = parts_.clock.Boot() + kKeyCreationLimit;
  const KeyService::OperationId making = parts_.keys.CreateKey(
      std::move(request), [core = shared_from_this(), pending](absl::StatusOr<CreatedKey> key) {
        if (!key.ok()) return core->NoteKey(pending, std::move(key));
        CrashPoint("enrollment.key_made");
        // The reference is durable before the key is used for anything: a kill leaves no key
        // unnamed.
        core->parts_.store.Update(
            pending->registration_id,
            [number = pending->generation, made = *key](Registration& registration) {
              Generation* generation = FindLive(registration, number);
              if (generation == nullptr) return RegistrationNotFound();
              generation->key = made.reference;
              generation->algorithm = made.algorithm;
              generation->public_key = made.public_key;
              generation->key_attributes = made.attributes;
              generation->key_public_area = made.public_area;
              generation->thumbprint = JwkThumbprint(made.public_key);
              return absl::OkStatus();
            },
            // A copy, not a move: which of two arguments is made first is not said.
            [core, pending, key = *key](absl::StatusOr<RegistrationStore::Snapshot> saved) mutable {
              if (saved.ok()) {
                CrashPoint("enrollment.key_recorded");
                return core->NoteKey(pending, std::move(key));
              }
              core->parts_.keys.DestroyKey(key.reference, [](absl::Status) {});
              core->NoteKey(pending, saved.status());
            });
      });
  MutexLock lock(mu_);
  pending->making_key = making;
}

void EnrollmentManager::Core::NoteKey(Pending pending, absl::StatusOr<CreatedKey> key) {
  absl::AnyInvocable<void()> next;
  bool ended = false;
  bool hopeless = false;
  {
    MutexLock lock(mu_);
    ended = pending->abandoned || pending->phase == Phase::kEnded;
    pending->key = key;
    pending->progress.key_ready = key.ok();
    next = std::move(pending->when_key_is_ready);
    pending->when_key_is_ready = nullptr;
    // Nobody is to log in for an enrollment that cannot come to anything.
    hopeless = !key.ok() && !ended && pending->phase == Phase::kWaiting;
    if (hopeless) pending->phase = Phase::kRunning;
    for (auto& [id, on_step] : pending->watches) on_step(pending->progress);
  }
  if (ended && key.ok()) {
    // The person cancelled while the hardware was at work.
    parts_.keys.DestroyKey(key->reference, [](absl::Status) {});
    return;
  }
  if (hopeless) return Abandon(pending, Annotate(key.status(), "making the hardware key"));
  if (next) next();
}

}  // namespace smartkey
