# SPDX-License-Identifier: Apache-2.0
"""Do the poses and intrinsics of a rig fit what its cameras see? In words, and for programs.

Tests are made of matches: of two cameras (epipolar errors), and of three (what two of them see
is looked for in the third; that also shows what epipolar errors are blind to: a camera turned, or
moved, in the plane that it shares with the others). A camera is wrong if most of its tests fail
and those without it do not. Where that cannot be said, nothing is said about it.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.vision.bundle import refitted, turned
from igs_ros.vision.matches import Features, MatchSettings, find_features, match_rig
from igs_ros.vision.rig_mistakes import Mistake, named_mistake, wrong_scale
from igs_ros.vision.rig_pairs import FAR_OFF, Pair, Verdict, judged, limit_px
from igs_ros.vision.rig_still import Shift, moved_cameras
from igs_ros.vision.tracks import Triple, tracks_of, triples

FULL, QUICK = MatchSettings(), MatchSettings(features=600, width=480)
_ALONE = 1.5  # errors that a pose, or a focal length, brings down so near to the floor explain it
_EXPLAINED = 0.5  # of the error may be left
_CLEARED = 2  # pairs that fit, and clear a camera of a single other one that does not
_POSE = 'its pose or focal length is wrong'


@dataclass(frozen=True, eq=False)
class RigCheck:
    """What was found."""

    verdict: Verdict
    cameras: Mapping[str, Verdict]
    lines: tuple[str, ...]  # what to tell a person; the worst first
    pairs: tuple[Pair, ...] = ()
    triples: tuple[Triple, ...] = ()
    mistake: Mistake | None = None
    shifts: Mapping[str, Shift] = field(default_factory=dict)  # of cameras that were moved

    @property
    def usable(self) -> list[Pair]:
        """Pairs whose matches tell something."""
        return [pair for pair in self.pairs if pair.verdict is not Verdict.UNKNOWN]


def check_rig(frames: Sequence[Mapping[str, np.ndarray]], cameras: Mapping[str, Camera],
              settings: MatchSettings = FULL, numbers: Sequence[int] = (),
              progress: Callable[[str, float], None] = lambda stage, done: None,
              depths: Mapping[str, np.ndarray] = MappingProxyType({})) -> RigCheck:
    """Check a rig by pictures.

    Args:
        frames: uint8 RGB [H, W, 3] by camera, each of one instant, as the cameras took them.
        cameras: of these pictures, by name.
        settings: how much is looked at.
        numbers: of the frames in their recording, for messages; none: 0, 1, ...
        progress: gets a stage and which share of it is done, 0..1.
        depths: float32 [H, W] m, NaN = not known, of some cameras in the first frame: they tell
            whether the rig is in meters, too.
    """
    found: list[dict[str, Features]] = []
    total = sum(len(frame) for frame in frames)
    for frame in frames:
        found.append({})
        for name, image in frame.items():
            if name in cameras:
                found[-1][name] = find_features(image, settings)
            progress('features', sum(map(len, found)) / max(1, total))
    return check_features(found, cameras, numbers, progress, depths)


def check_features(frames: Sequence[Mapping[str, Features]], cameras: Mapping[str, Camera],
                   numbers: Sequence[int] = (),
                   progress: Callable[[str, float], None] = lambda stage, done: None,
                   depths: Mapping[str, np.ndarray] = MappingProxyType({})) -> RigCheck:
    """`check_rig` of features that were found before.

    Args:
        frames: features by camera, of one instant each.
        cameras: of the rig, by name.
        numbers: of the frames in their recording, for messages; none: 0, 1, ...
        progress: gets a stage and which share of it is done, 0..1.
        depths: see `check_rig`.
    """
    shifts = moved_cameras(frames, cameras)
    before = [{name: one for name, one in frame.items()
               if name not in shifts or number < shifts[name].frame}
              for number, frame in enumerate(frames)]
    pairs = judged(match_rig(before, lambda done: progress('matches', done)), cameras)
    progress('verdict', 0.0)
    guilty, pairs = _guilty(pairs, cameras)
    mistake = named_mistake(pairs, cameras, guilty)
    if mistake is None:
        mistake = wrong_scale(pairs, cameras, depths)
    if mistake is not None and mistake.who != tuple(cameras):
        guilty = list(mistake.who)
    three = []
    if not any(pair.verdict is Verdict.WRONG for pair in pairs):
        good = [pair for pair in pairs if pair.verdict is Verdict.GOOD]
        three = triples(tracks_of(good, cameras), cameras)
        guilty = _outvoted([(one.names, one.verdict) for one in three])
    result = _result(pairs, three, cameras, guilty, mistake)
    progress('verdict', 1.0)
    lines = [shift.text(name, (numbers or range(len(frames)))[shift.frame])
             for name, shift in shifts.items()]
    if lines:
        result = replace(result, shifts=shifts, lines=(*lines, *result.lines),
                         verdict=Verdict.WRONG,
                         cameras={**result.cameras, **dict.fromkeys(shifts, Verdict.WRONG)})
    return result


def _outvoted(tests: Sequence[tuple[tuple[str, ...], Verdict]]) -> list[str]:
    """The fewest cameras that explain the tests that fail, and have failed most of their own."""
    left = [names for names, verdict in tests if verdict is Verdict.WRONG]
    guilty: list[str] = []
    while left:
        names = list(dict.fromkeys(name for test in left for name in test))
        count = {name: sum(name in test for test in left) for name in names}
        passed = {name: sum(name in test for test, verdict in tests if verdict is Verdict.GOOD
                            and not set(test) & set(guilty)) for name in names}
        score = {name: count[name] - passed[name] for name in names}
        worst = max(names, key=lambda name: (score[name], count[name]))
        rivals = [name for name in names if name != worst and (score[name], count[name])
                  == (score[worst], count[worst])]
        alone = count[worst] > 1 and count[worst] == len(left)
        if rivals or score[worst] <= 0 and not alone:
            break
        guilty.append(worst)
        left = [test for test in left if worst not in test]
    return guilty


def _guilty(pairs: list[Pair], cameras) -> tuple[list[str], list[Pair]]:
    """The cameras to blame, and the pairs without those that repetition must have misled."""
    passed, failed = ({name: sum(name in pair.names for pair in pairs if pair.verdict is verdict)
                       for name in cameras} for verdict in (Verdict.GOOD, Verdict.WRONG))
    kept = []
    for pair in pairs:
        if pair.verdict is Verdict.WRONG:
            far = pair.error_px > FAR_OFF * limit_px(*(cameras[name] for name in pair.names))
            if all(passed[name] >= max(_CLEARED, (1 if far else 2) * failed[name])
                   for name in pair.names):
                pair = _unknown(pair, 'its matches contradict what all others say of both '
                                'cameras: something is there twice')
            elif far and pair.behind <= 0.5 and len(cameras) > 2 \
                    and all(failed[name] == 1 for name in pair.names if not passed[name]):
                pair = replace(pair, doubtful=True)
        kept.append(pair)
    return _outvoted([(pair.names, pair.verdict) for pair in kept]), kept


def _unknown(pair: Pair, reason: str) -> Pair:
    return replace(pair, verdict=Verdict.UNKNOWN, error_px=np.nan, worst_px=np.nan, reason=reason)


def _result(pairs: list[Pair], three: list[Triple], cameras: Mapping[str, Camera],
            guilty: Sequence[str], mistake: Mistake | None) -> RigCheck:
    lines: list[str] = []
    if mistake is not None:
        before = 'things would lie behind the cameras' if not np.isfinite(mistake.before_px) \
            else f'the cameras disagree by {mistake.before_px:.1f} px'
        lines.append(mistake.text if mistake.scale != 1 else
                     f'{mistake.text}: as given, {before}; with that taken back, they agree to '
                     f'{mistake.after_px:.1f} px')
    wrong = [pair for pair in pairs if pair.verdict is Verdict.WRONG]
    if mistake is None:
        # a test whose cameras stand far off, and that stands alone, may as well be misled
        doubtful = [pair for pair in wrong if pair.doubtful]
        pairs = [_unknown(pair, f'{pair.error_px:.0f} px apart, and no other camera tells whether '
                          'the pose is so wrong or something is there twice')
                 if pair.doubtful else pair for pair in pairs]
        wrong = [pair for pair in wrong if pair not in doubtful]
        lines += [_blame(name, wrong, three, cameras, pairs) for name in guilty
                  if any(name in pair.names for pair in wrong)
                  or any(name in one.names for one in three)]
        told = set(guilty)
        rest = [pair for pair in wrong if not told & set(pair.names)]
        lines += [f'{pair.names[0]} and {pair.names[1]} disagree by {pair.error_px:.1f} px: the '
                  'pose or focal length of one of them is wrong, and it cannot be told whose'
                  for pair in rest]
        lines += [f'{", ".join(one.names)} do not fit together: what two of them see is '
                  f'{one.error_px:.1f} px off in the third, and it cannot be told whose fault it '
                  'is' for one in three
                  if one.verdict is Verdict.WRONG and not told & set(one.names)]
    verdicts = {name: _camera_verdict(name, pairs, three, guilty, mistake) for name in cameras}
    lines += [_doubt(name, pairs) for name, verdict in verdicts.items()
              if verdict is Verdict.UNKNOWN]
    if Verdict.WRONG in verdicts.values():
        overall = Verdict.WRONG
    else:
        overall = Verdict.UNKNOWN if Verdict.UNKNOWN in verdicts.values() or len(cameras) < 2 \
            else Verdict.GOOD
    return RigCheck(overall, verdicts, tuple(lines), tuple(pairs), tuple(three), mistake)


def _camera_verdict(name: str, pairs, three, guilty, mistake: Mistake | None) -> Verdict:
    if mistake is not None and name in mistake.who:
        return Verdict.WRONG
    own = [pair.verdict for pair in pairs if name in pair.names]
    if name in guilty and (Verdict.WRONG in own or three):
        return Verdict.WRONG
    tests = [(pair.names, pair.verdict) for pair in pairs] + [(t.names, t.verdict) for t in three]
    unexplained = any(verdict is Verdict.WRONG and name in names and not set(names) & set(guilty)
                      for names, verdict in tests)
    if unexplained and mistake is None:
        return Verdict.WRONG
    return Verdict.GOOD if Verdict.GOOD in own else Verdict.UNKNOWN


def _blame(name: str, wrong: Sequence[Pair], three: Sequence[Triple],
           cameras: Mapping[str, Camera], pairs: Sequence[Pair]) -> str:
    """What is wrong with one camera, as the issue has it, and what would mend it."""
    own = [pair for pair in wrong if name in pair.names]
    if not own:
        tests = [one for one in three if name in one.names and one.verdict is Verdict.WRONG]
        error = np.median([one.error_px for one in tests])
        others = [n for n in cameras if n != name and any(n in one.names for one in tests)]
        return (f'{name} is off by {error:.1f} px from where {", ".join(others)} together see '
                f'things, though it fits each of them: {_POSE} (turned or moved in the plane that '
                'it shares with them)')
    others = [n for n in cameras if any({n, name} == set(pair.names) for pair in own)]
    text = f'{name} disagrees by {np.median([p.error_px for p in own]):.1f} px with ' \
        + ', '.join(others)
    usable = [pair for pair in pairs if name in pair.names and pair.verdict is not Verdict.UNKNOWN]
    if len(usable) < 2:
        cleared = any(others[0] in pair.names and pair.verdict is Verdict.GOOD for pair in pairs)
        return f'{text}: {_POSE}' + ('' if cleared else f', or that of {others[0]}')
    before = float(np.median([pair.error_px for pair in usable]))
    by_focal, focal_px = refitted(usable, cameras, [name], focal_only=True)
    by_pose, pose_px = refitted(usable, cameras, [name])
    least = min(pose_px, focal_px)
    if least > _EXPLAINED * before:
        return f'{text}: {_POSE}'
    if focal_px <= _ALONE * pose_px:
        ratio = by_focal[name].K[0, 0] / cameras[name].K[0, 0]
        return f'{text}: its focal length is wrong ({ratio:.3f} times as long it fits to ' \
            f'{focal_px:.1f} px)'
    angle = np.degrees(turned(by_pose[name], cameras[name]))
    way = np.linalg.norm(by_pose[name].center - cameras[name].center)
    return f'{text}: its pose is wrong (turned by {angle:.2f} degrees and moved by {way:.3f} it ' \
        f'fits to {pose_px:.1f} px)'


def _doubt(name: str, pairs: Sequence[Pair]) -> str:
    reasons = [f'with {next(n for n in pair.names if n != name)} {pair.reason}' for pair in pairs
               if name in pair.names and pair.reason]
    return f'{name}: cannot tell: ' + ('; '.join(reasons) or 'no other camera to compare it with')
