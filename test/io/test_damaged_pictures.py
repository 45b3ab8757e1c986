# SPDX-License-Identifier: Apache-2.0
"""Damaged JPEG files are found; OpenCV shows nearly all of them as if nothing had happened."""
import random

import pytest
from whole_pictures import DAMAGES, damaged, photo, whole_jpeg

from igs_ros.core.errors import DamagedPicture, InputError
from igs_ros.core.frames import PictureProblem
from igs_ros.io.pictures import EncodedPicture, decode_color

PHOTO = photo()
COUNT = 200


@pytest.fixture(scope='module')
def whole():
    """Whole pictures of all kinds with at least 4 kB."""
    rng, found = random.Random(1), []
    while len(found) < COUNT:
        data = whole_jpeg(rng, PHOTO)
        scan = data.rfind(b'\xff\xda')
        if data.rfind(b'\xff\xd9') - scan > 4000:
            found.append(data)
    return found


@pytest.mark.parametrize('kind', DAMAGES)
def test_damaged_pictures_are_found(kind, whole):
    rng, found, tried = random.Random(2), 0, 0
    for data in whole:
        spoiled = damaged(rng, data, kind)
        tried += spoiled != data
        try:
            decode_color(spoiled, '/cam00/image')
        except DamagedPicture as error:
            found += 1
            assert str(error).startswith('/cam00/image: a damaged JPEG of ')
        except InputError:
            found += 1  # the first bytes, or the size
    assert tried > 0.9 * COUNT and found >= 0.95 * tried, (found, tried)


def test_damage_is_told_by_camera(whole):
    data = damaged(random.Random(3), whole[0], 'cut')
    with pytest.raises(DamagedPicture) as error:
        EncodedPicture(data, '/cam00/image').decode()
    problem = PictureProblem.of('cam00', error.value)
    assert problem.cause == 'damaged_picture'
    assert problem.text.startswith("camera 'cam00': /cam00/image: a damaged JPEG of ")
