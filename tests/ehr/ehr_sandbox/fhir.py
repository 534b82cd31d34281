# SPDX-License-Identifier: Apache-2.0
"""The FHIR server behind it all: two patients, a few observations, the bearer check (RFC 6750)."""

import json

from flask import Blueprint, Response, request

from . import scopes
from .models import AccessToken, token_hash
from .server import bearer_token, note, sandbox_state


def _patient(id_, given, family, gender, born):
    return {
        "resourceType": "Patient",
        "id": id_,
        "name": [{"use": "official", "given": [given], "family": family}],
        "gender": gender,
        "birthDate": born,
    }


def _observation(id_, patient, code, text, value, unit, when):
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {
            "coding": [{"system": "http://loinc.org", "code": code, "display": text}],
            "text": text,
        },
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": when,
        "valueQuantity": {
            "value": value,
            "unit": unit,
            "system": "http://unitsofmeasure.org",
            "code": unit,
        },
    }


PATIENTS = {
    patient["id"]: patient
    for patient in (
        _patient("pat-1", "Amy", "Shaw", "female", "1987-02-20"),
        _patient("pat-2", "Ben", "Shaw", "male", "2019-05-14"),
    )
}
OBSERVATIONS = {
    observation["id"]: observation
    for observation in (
        _observation("obs-1", "pat-1", "29463-7", "Body weight", 64.5, "kg", "2026-01-12"),
        _observation("obs-2", "pat-1", "8302-2", "Body height", 168, "cm", "2026-01-12"),
        _observation("obs-3", "pat-2", "29463-7", "Body weight", 22.4, "kg", "2026-02-03"),
        _observation("obs-4", "pat-2", "8302-2", "Body height", 118, "cm", "2026-02-03"),
    )
}


def patient_name(patient: str) -> str:
    """How pages call a patient: by id when there is no record of one that was configured."""
    if patient not in PATIENTS:
        return patient
    name = PATIENTS[patient]["name"][0]
    return f"{name['given'][0]} {name['family']}"


def fhir_json(body: dict, status: int = 200, headers=()) -> Response:
    response = Response(
        json.dumps(body), status=status, content_type="application/fhir+json; charset=utf-8"
    )
    for name, value in headers:
        response.headers[name] = value
    response.headers["Cache-Control"] = "no-store"
    return response


def outcome(status: int, code: str, text: str, headers=()) -> Response:
    issue = {"severity": "error", "code": code, "diagnostics": text}
    return fhir_json({"resourceType": "OperationOutcome", "issue": [issue]}, status, headers)


class _Refused(Exception):
    def __init__(self, response: Response):
        super().__init__()
        self.response = response


def _authorize(resource_type: str, right: str) -> AccessToken:
    """This request's token, good for reading (`r`) or searching (`s`) resources of this type."""
    value = bearer_token(request.headers)
    if value is None:
        challenge = [("WWW-Authenticate", 'Bearer realm="sandbox"')]
        raise _Refused(outcome(401, "login", "an access token is required", challenge))
    note(token_hash=token_hash(value))
    token = sandbox_state().find_usable_token(value)
    if token is None:
        note(error="invalid_token")
        challenge = [("WWW-Authenticate", 'Bearer realm="sandbox", error="invalid_token"')]
        raise _Refused(
            outcome(401, "login", "the access token is expired, revoked or unknown", challenge)
        )
    note(client_id=token.client.get_client_id())
    if not scopes.allows(token.scope, resource_type, right):
        note(error="insufficient_scope")
        challenge = [("WWW-Authenticate", 'Bearer realm="sandbox", error="insufficient_scope"')]
        raise _Refused(
            outcome(
                403, "forbidden", f"the scope does not allow this on {resource_type}", challenge
            )
        )
    return token


def _in_compartment(token: AccessToken, patient: str) -> None:
    if patient != token.authorization.patient:
        note(error="other patient")
        raise _Refused(outcome(403, "forbidden", "the token is for another patient"))


def _bundle(resources) -> Response:
    base = sandbox_state().urls.fhir_base
    entries = [
        {"fullUrl": f"{base}/{r['resourceType']}/{r['id']}", "resource": r} for r in resources
    ]
    return fhir_json(
        {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "entry": entries}
    )


def _searched_patient(token: AccessToken, *parameters: str) -> str:
    """The patient that the query names as id or reference; the token's own when it names none."""
    for parameter in parameters:
        if parameter in request.args:
            patient = request.args[parameter]
            patient = patient[len("Patient/") :] if patient.startswith("Patient/") else patient
            _in_compartment(token, patient)
            return patient
    return token.authorization.patient


def create_blueprint() -> Blueprint:
    blueprint = Blueprint("fhir", __name__, url_prefix="/fhir")

    @blueprint.errorhandler(_Refused)
    def refused(error):
        return error.response

    @blueprint.get("/Patient/<patient>")
    def read_patient(patient):
        _in_compartment(_authorize("Patient", "r"), patient)
        if patient not in PATIENTS:
            return outcome(404, "not-found", "no such Patient")
        return fhir_json(PATIENTS[patient])

    @blueprint.get("/Patient")
    def search_patients():
        patient = _searched_patient(_authorize("Patient", "s"), "_id")
        return _bundle([PATIENTS[patient]] if patient in PATIENTS else [])

    @blueprint.get("/Observation/<observation>")
    def read_observation(observation):
        token = _authorize("Observation", "r")
        found = OBSERVATIONS.get(observation)
        if found is None:
            return outcome(404, "not-found", "no such Observation")
        _in_compartment(token, found["subject"]["reference"].split("/")[1])
        return fhir_json(found)

    @blueprint.get("/Observation")
    def search_observations():
        patient = _searched_patient(_authorize("Observation", "s"), "patient", "subject")
        reference = f"Patient/{patient}"
        return _bundle([o for o in OBSERVATIONS.values() if o["subject"]["reference"] == reference])

    return blueprint
